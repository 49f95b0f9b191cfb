"""Building a training set: point-in-time join, split, fitted preprocessing, encoded shards and a manifest.

The same inputs give the same snapshot, which is found again instead of being built twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Field

from mtl_ray.data.feature_store import FeatureRepo, FeaturesConfig
from mtl_ray.data.labels import Labels, encode_labels, label_columns, label_rates, label_statistics
from mtl_ray.data.manifest import FORMAT_VERSION, MANIFEST_FILE, ROW_GROUP_ROWS, Manifest, SpineRecord
from mtl_ray.data.numeric_transforms import numeric_values
from mtl_ray.data.preprocessing import PreprocessingConfig, fit
from mtl_ray.data.service_spec import ServiceSpec
from mtl_ray.data.shards import EncodableRows, check_column_names, write_shards
from mtl_ray.data.snapshot_files import Snapshot, open_snapshot
from mtl_ray.data.snapshot_id import snapshot_id
from mtl_ray.data.source_files import SourceFingerprint, content_hash
from mtl_ray.data.spine import EVENT_TIMESTAMP, key_values, read_spine, spine_files
from mtl_ray.data.splits import PARTS, SplitConfig, assign
from mtl_ray.data.staging import staged_folder, writable_folder
from mtl_ray.errors import DataError
from mtl_ray.schema import Settings
from mtl_ray.tasks import TaskConfig

__all__ = ["Snapshot", "TrainingSetConfig", "build_training_set", "open_snapshot"]

_PACKAGES = ("mtl-ray", "feast", "duckdb", "pyarrow", "numpy")


class TrainingSetConfig(Settings):
    """What is learnt from, how it is split and how it is encoded."""

    spine: str
    """Parquet file or folder: join keys, event_timestamp with a time zone, labels (NULL: not observed), context."""
    split: SplitConfig
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    rows_per_shard: Annotated[int, Field(ge=1)] = 65536
    shuffle_seed: int = 0
    """Seed of the order in which the training part's rows are written, so that every shard is a fair sample."""
    sample_weight: str | None = None
    """Spine column with a weight >= 0 for each row in every loss."""


def build_training_set(
    storage: str,
    features: FeaturesConfig,
    training_set: TrainingSetConfig,
    tasks: Mapping[str, TaskConfig],
    group_by: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Snapshot:
    """The training set in `<storage>/training_sets/<service>-<id>`, found or built.

    `group_by`: join key or spine column that metrics group by; it is kept raw in the shards. `progress` is told each
    step in a sentence. Raises `StorageError`, `FeatureStoreError`, `DataError` or `SnapshotError`, each before
    anything stands under the final name; mistakes in config, labels and split come up before the join.
    """
    say = progress or (lambda _: None)
    folder = writable_folder(f"{storage.rstrip('/')}/training_sets")
    say(f"reading feature service {features.service} from {features.repo}")
    repo = FeatureRepo(features)
    files = spine_files(training_set.spine)
    sources = repo.source_fingerprints()
    spine_sha256 = content_hash(files)
    identity = snapshot_id(
        service=repo.spec,
        registry_hash=repo.registry_hash,
        sources=sources,
        spine_sha256=spine_sha256,
        training_set=training_set,
        tasks=tasks,
        group_by=group_by,
    )
    final = folder / f"{features.service}-{identity[:12]}"
    if final.exists():
        say(f"found the training set {final}")
        return open_snapshot(final)
    inputs = _Inputs(repo, training_set, tasks, group_by, sources, spine_sha256, identity)
    spine, labels = inputs.read_spine(say)
    with staged_folder(final) as aside:
        manifest = inputs.write(aside, spine, labels, say)
        (aside / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1, by_alias=True))
    say(f"wrote the training set {final}")
    return replace(open_snapshot(final), found=False)


@dataclass(frozen=True)
class _Inputs:
    """Everything that a snapshot is built from."""

    repo: FeatureRepo
    config: TrainingSetConfig
    tasks: Mapping[str, TaskConfig]
    group_by: str | None
    sources: tuple[SourceFingerprint, ...]
    spine_sha256: str
    identity: str

    @property
    def spec(self) -> ServiceSpec:
        return self.repo.spec

    @property
    def carried(self) -> tuple[str, ...]:
        """Raw columns of the shards."""
        group = [self.group_by] if self.group_by is not None else []
        return tuple(dict.fromkeys([*self.spec.join_keys, EVENT_TIMESTAMP, *group]))

    def read_spine(self, say: Callable[[str], None]) -> tuple[pa.Table, Labels]:
        """The spine and its labels, checked; its columns collide with no feature."""
        columns = label_columns(self.tasks)
        named = [self.config.sample_weight, self.group_by]
        extra = [name for name in named if name is not None]
        say(f"reading the spine {self.config.spine}")
        spine = read_spine(self.config.spine, list(self.spec.join_keys), columns, self.spec.context, extra)
        if self.group_by is not None:
            groups = key_values(spine[self.group_by], self.group_by, "group key (evaluation.group_by)")
            spine = spine.set_column(spine.column_names.index(self.group_by), self.group_by, groups)
        check_column_names(self.carried)
        for feature in self.spec.features:
            kept = self.spec.join_keys if feature.source == "key" else self.spec.context
            if feature.name in spine.column_names and (feature.name not in kept or feature.name in columns):
                raise DataError(
                    f"The name {feature.name!r} is a feature and a label or weight column of the spine.",
                    where=f"feature view {feature.view}" if feature.view else f"features.{feature.source}",
                    fix="rename one of them: a label must never be an input",
                )
        for name in self.spec.request_columns:
            if name in columns:
                raise DataError(
                    f"An on-demand view reads {name!r}, which is a label column of the spine.",
                    where=f"feature service {self.spec.service}",
                    found=f"request columns {', '.join(self.spec.request_columns)}",
                    fix="take the column out of the view's request source: a label must never be an input",
                )
        return spine, encode_labels(spine, self.tasks)

    def write(self, folder: Path, spine: pa.Table, labels: Labels, say: Callable[[str], None]) -> Manifest:
        """Join, split, fit, encode and write; returns the manifest, which is not written yet."""
        parts, boundaries = assign(spine[EVENT_TIMESTAMP], self.config.split)
        weight = _sample_weight(spine, self.config.sample_weight)
        say(f"joining {spine.num_rows:,} spine rows with {len(self.spec.views)} feature views (Feast)")
        joined = self.repo.historical(spine)
        raw = spine.drop_columns([name for name in label_columns(self.tasks) if name not in self.carried])
        for feature in self.spec.retrieved:
            raw = raw.append_column(feature.name, joined[feature.name])
        raw = raw.combine_chunks()
        data = EncodableRows(raw, labels, weight, self.carried)
        rows = {part: np.flatnonzero(parts == number) for number, part in enumerate(PARTS)}
        say(f"fitting the preprocessing to {rows['train'].size:,} training rows")
        preprocessing = fit(self.config.preprocessing, self.spec.features, raw.take(pa.array(rows["train"])))
        order = dict(rows)
        order["train"] = np.random.default_rng(self.config.shuffle_seed).permutation(rows["train"])
        files = {}
        for part, chosen in order.items():
            say(f"writing {chosen.size:,} rows of {part}")
            files[part] = write_shards(folder, part, chosen, data, preprocessing, self.config.rows_per_shard)
        train = Labels(labels.values[rows["train"]], labels.observed[rows["train"]])
        return Manifest(
            format_version=FORMAT_VERSION,
            id=self.identity,
            created=datetime.now(UTC),
            versions=_versions(),
            service=self.spec,
            registry_hash=self.repo.registry_hash,
            sources=self.sources,
            spine=SpineRecord(path=self.config.spine, sha256=self.spine_sha256, rows=spine.num_rows),
            split=self.config.split,
            boundaries=boundaries,
            rows={part: int(chosen.size) for part, chosen in rows.items()},
            files=files,
            row_group_rows=ROW_GROUP_ROWS,
            shuffle_seed=self.config.shuffle_seed,
            join_keys=tuple(self.spec.join_keys),
            group_by=self.group_by,
            sample_weight=self.config.sample_weight,
            schema=preprocessing.batch_schema(tuple(self.tasks)),
            preprocessing=preprocessing,
            missing=preprocessing.missing,
            label_statistics=label_statistics(train, self.tasks),
            label_rates={part: label_rates(labels, self.tasks, chosen) for part, chosen in rows.items()},
        )


def _sample_weight(spine: pa.Table, column: str | None) -> np.ndarray:
    """Row weights, float32 `[rows]`."""
    if column is None:
        return np.ones(spine.num_rows, dtype=np.float32)
    weight = numeric_values(spine[column], column)
    bad = np.flatnonzero(~(weight >= 0.0))
    if bad.size:
        raise DataError(
            f"The sample weight {column!r} is not a number >= 0 in every row.",
            where=f"spine row {bad[0]}",
            found=f"{spine[column][int(bad[0])].as_py()!r}, and {bad.size - 1} more rows",
            allowed="finite numbers >= 0",
        )
    return weight.astype(np.float32)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree
            found[package] = "unknown"
    return found
