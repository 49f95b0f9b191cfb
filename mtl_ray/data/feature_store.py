"""The only Feast client of this package: opens a repo, resolves a feature service, joins features to a spine.

Feast takes seconds to import, so it is imported when a repo is opened and not before.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from mtl_ray.data.join.parquet_rows import Rows, TableRows
from mtl_ray.data.point_in_time import FeatureJoin, KeptPlan, joined_in_memory, plan_feature_join
from mtl_ray.data.registry_hash import registry_hash
from mtl_ray.data.service_resolution import ResolvedService, is_ours, resolve_service
from mtl_ray.data.service_spec import Encoding, ServiceSpec
from mtl_ray.data.source_files import SourceFingerprint, fingerprint, is_remote
from mtl_ray.data.spine import EVENT_TIMESTAMP, ROW_ID
from mtl_ray.errors import FeatureStoreError, nearest
from mtl_ray.machine_memory import default_budget
from mtl_ray.schema import Settings

logger = logging.getLogger(__name__)

OURS = "mtl_ray.data.offline_store.PointInTimeOfflineStore"

LOSSY_STORES = frozenset({"dask", "file", "ray", "feast.infra.offline_stores.dask.DaskOfflineStore"})
"""Offline stores of Feast 0.67 that lose rows of a slate, or join other values than the point-in-time ones."""


class FeaturesConfig(Settings):
    """Which features the model reads."""

    repo: str
    """Folder with feature_store.yaml."""
    service: str
    """Feature service whose features become inputs, in its order."""
    keys: tuple[str, ...] = ()
    """Join keys that are inputs as well; the vocabulary of each has the key's name."""
    context: dict[str, Literal["categorical", "numeric"]] = Field(default_factory=dict)
    """Spine columns that a request carries and that are inputs as they are."""
    encodings: dict[str, Encoding] = Field(default_factory=dict)
    """Encoding by feature name, over the field's tag and the default of its type."""


class FeatureRepo:
    """An applied Feast repo with one feature service resolved.

    Opening it reads the registry and the sources' schemas and raises `FeatureStoreError` for everything that the
    join would need and not find.
    """

    def __init__(self, config: FeaturesConfig) -> None:
        self.config = config
        self._store = _open(Path(config.repo))
        self._resolved = self._resolve()

    @property
    def spec(self) -> ServiceSpec:
        """The service as the model sees it."""
        return self._resolved.spec

    @cached_property
    def registry_hash(self) -> str:
        """Hash of service, views, on-demand views, entities and sources, without times and texts for people."""
        return registry_hash(self._resolved.objects)

    def source_fingerprints(self) -> tuple[SourceFingerprint, ...]:
        """Fingerprints of the views' sources, by the source's name. Reads every local source file once; of a table in
        a warehouse only the name is known.

        Raises `FeatureStoreError` naming the view, the source and the path of one that cannot be read.
        """
        found = {}
        for view in self.spec.views:
            if view.in_warehouse:
                digest = hashlib.sha256(view.path.encode()).hexdigest()
                found[view.source] = SourceFingerprint(source=view.source, path=view.path, sha256=digest)
                continue
            try:
                found[view.source] = fingerprint(view.source, view.path)
            except OSError as error:
                raise FeatureStoreError(
                    f"The source {view.source!r} of feature view {view.name!r} cannot be read.",
                    where=view.path,
                    found=f"{type(error).__name__}: {error}",
                    fix="write the source's Parquet file, or correct its path in the repo and run `feast apply`",
                ) from error
        return tuple(found[name] for name in sorted(found))

    def plan_join(
        self,
        spine: Rows,
        spine_columns: Sequence[str],
        *,
        folder: Path,
        budget: int | None = None,
        most_bucket_rows: int | None = None,
        identity: str = "",
        kept_plan: KeptPlan | None = None,
        latest_views: Sequence[str] = (),
    ) -> FeatureJoin:
        """The join of the service to `spine`, which has `row_id` (int64, unique) among `spine_columns`.

        `folder` receives what does not fit into `budget` bytes (None: the offline store's own `memory_budget`, else
        half of the free memory). `kept_plan` gives the plan of an unfinished join in the folder, for a budget, if
        there is one. Of `latest_views` every row gets the newest values of its keys, which leaks: it is how the leak
        meter measures what a plain join would have done. Raises `FeatureStoreError`, `DataError` or `ConfigError`.
        """
        if latest_views:
            self._check_latest(latest_views)
        if budget is None:
            of_store = getattr(self._store.config.offline_store, "memory_budget", None)
            budget = default_budget() if of_store is None else int(of_store)
        return plan_feature_join(
            self._store,
            self._resolved.service,
            self.spec,
            spine,
            spine_columns,
            budget=budget,
            folder=folder,
            most_bucket_rows=most_bucket_rows,
            identity=identity,
            kept_plan=kept_plan,
            latest_views=latest_views,
        )

    def historical(self, spine: pa.Table) -> pa.Table:
        """The service's features as they were at each spine row's event_timestamp, for a spine in memory.

        `spine`: the service's join keys, event_timestamp, `row_id` (int64, unique; positions where it is absent) and
        the columns that on-demand views read; other columns are not looked at. Returns `row_id` and one column a
        retrieved feature, a row a spine row, sorted by `row_id`; a feature without a valid row is null. Raises
        `FeatureStoreError` where the store returns other rows than it was given.
        """
        if ROW_ID not in spine.column_names:
            spine = spine.append_column(ROW_ID, pa.array(np.arange(spine.num_rows, dtype=np.int64)))
        spine = spine.take(pc.sort_indices(spine[ROW_ID]))
        columns = [*self.spec.join_keys, EVENT_TIMESTAMP, ROW_ID, *self.spec.request_columns]
        with tempfile.TemporaryDirectory() as folder:
            present = [name for name in dict.fromkeys(columns) if name in spine.column_names]
            rows = TableRows(spine.select(present))
            join = self.plan_join(rows, rows.schema.names, folder=Path(folder))
            joined = pa.concat_tables(list(joined_in_memory(join, logger.info)))
        return joined.select([ROW_ID, *(feature.name for feature in self.spec.retrieved)])

    def _check_latest(self, latest_views: Sequence[str]) -> None:
        names = [view.name for view in self.spec.views]
        for name in latest_views:
            if name not in names:
                guess = nearest(name, names)
                raise FeatureStoreError(
                    f"The feature service reads no view {name!r}.",
                    where=f"latest-value join, feature service {self.spec.service}",
                    allowed=", ".join(names),
                    fix=f"did you mean {guess!r}?" if guess else None,
                )
        offline_store = str(self._store.config.offline_store.type)
        if not is_ours(offline_store):
            raise FeatureStoreError(
                "Only this package's offline store can join latest values.",
                where=f"latest-value join, repo {self.config.repo}",
                found=f"offline store {offline_store}",
                allowed=OURS,
                fix=f"write `offline_store: {{type: {OURS}}}` in feature_store.yaml",
            )

    def _resolve(self) -> ResolvedService:
        store, config = self._store, self.config
        services = {service.name: service for service in store.list_feature_services()}
        if not services:
            raise FeatureStoreError(
                "The Feast registry holds no feature service.",
                where=f"features.repo = {config.repo}",
                fix=f"run `feast apply` in {config.repo}",
            )
        if config.service not in services:
            guess = nearest(config.service, services)
            raise FeatureStoreError(
                f"There is no feature service {config.service!r}.",
                where=f"features.service, repo {config.repo}",
                found=f"services {', '.join(sorted(services))}",
                fix=f"did you mean {guess!r}? A service that was just written needs `feast apply`"
                if guess
                else f"choose one of them, or define it and run `feast apply` in {config.repo}",
            )
        return resolve_service(
            store,
            services[config.service],
            keys=config.keys,
            context=config.context,
            encodings=config.encodings,
        )


def _open(repo: Path) -> Any:
    """A `feast.FeatureStore` of an applied repo whose offline store keeps every row."""
    if not repo.is_dir():
        raise FeatureStoreError(
            "The Feast repo does not exist.",
            where=f"features.repo = {repo}",
            found="no such folder" if not repo.exists() else "a file",
            allowed="a folder with feature_store.yaml",
            fix="correct the path (it counts from the working directory)",
        )
    settings = repo / "feature_store.yaml"
    if not settings.is_file():
        raise FeatureStoreError(
            "The folder is no Feast repo: it has no feature_store.yaml.",
            where=f"features.repo = {repo}",
            found=f"files {', '.join(sorted(file.name for file in repo.iterdir())[:10]) or '(none)'}",
            fix="point features.repo to the folder that holds feature_store.yaml",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import feast
        from feast.repo_config import load_repo_config

        try:
            config = load_repo_config(repo.resolve(), settings.resolve())
            _check_store(str(config.offline_store.type), settings)
            _check_registry(config.registry, repo)
            # Without repo_path Feast would look for a relative registry in the working directory.
            store = feast.FeatureStore(repo_path=str(repo.resolve()), config=config)
            store.list_feature_services()  # opens the registry, which Feast does lazily
            return store
        except FeatureStoreError:
            raise
        except Exception as error:  # Feast raises whatever its registries and YAML parser raise
            raise FeatureStoreError(
                "The Feast repo cannot be opened.",
                where=str(settings),
                found=f"{type(error).__name__}: {error}",
                fix=f"see that `feast apply` and `feast feature-services list` work in {repo}",
            ) from error


def _check_store(offline_store: str, settings: Path) -> None:
    if offline_store in LOSSY_STORES:
        raise FeatureStoreError(
            f"Feast's {offline_store!r} offline store loses rows in point-in-time joins.",
            where=f"offline_store in {settings}",
            found=f"type {offline_store} (dask is the default where none is set)",
            allowed=f"type: {OURS} (or duckdb, or a warehouse)",
            fix=f"write `offline_store: {{type: {OURS}}}` in feature_store.yaml",
        )


def _check_registry(registry: Any, repo: Path) -> None:
    """A registry file that is absent would be created empty by Feast: say so before."""
    if registry.registry_type != "file" or is_remote(str(registry.path)):
        return
    path = Path(str(registry.path).removeprefix("file://"))
    absolute = path if path.is_absolute() else repo / path
    if not absolute.is_file():
        raise FeatureStoreError(
            "The Feast repo has no registry: it was never applied.",
            where=f"features.repo = {repo}",
            found=f"no file {absolute}",
            fix=f"run `feast apply` in {repo}",
        )
