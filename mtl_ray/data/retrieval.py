"""Feast retrieval jobs over the point-in-time join: nothing runs before a result is asked for."""

from __future__ import annotations

import atexit
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast.feature_view import DUMMY_ENTITY_VAL
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage

from mtl_ray.data.entity_frame import entity_columns, entity_rows, time_column, time_span
from mtl_ray.data.feast_views import DUMMY_KEY, source_path
from mtl_ray.data.join.asof import CREATED, TIME
from mtl_ray.data.join.budget import default_budget
from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.data.join.gather import Gatherer
from mtl_ray.data.join.parquet_rows import Rows
from mtl_ray.data.join.results import inputs_identity, write_joined, writer_options
from mtl_ray.data.join.run import joined_buckets, new_join, on_disk, shuffle
from mtl_ray.data.join.stages import Join, join_bucket
from mtl_ray.data.join.views import JoinView, frame, microseconds
from mtl_ray.data.on_demand import OnDemandFeatures
from mtl_ray.data.source_files import is_remote
from mtl_ray.data.spine import EVENT_TIMESTAMP
from mtl_ray.data.task_runner import RunsOn
from mtl_ray.errors import StorageError

logger = logging.getLogger(__name__)

_PULL_ROWS = 1 << 20


@dataclass(frozen=True)
class WorkSettings:
    """Where and within what a job works; see `PointInTimeOfflineStoreConfig`."""

    memory_budget: int | None = None
    work_folder: Path | None = None
    runs_on: Literal["auto", "local", "ray"] = "auto"
    progress: bool | None = None
    repo_path: Path | None = None

    def place(self) -> RunsOn:
        """Where partitions are joined."""
        if self.runs_on == "auto":
            return "ray" if _ray_connected() else "local"
        if self.runs_on == "ray":
            _connect_ray()
        return self.runs_on

    def budget(self, place: RunsOn) -> int:
        """Bytes for one process."""
        if self.memory_budget is not None:
            return self.memory_budget
        if place == "local":
            return default_budget()
        import ray

        cores = [int(node["Resources"].get("CPU", 1)) for node in ray.nodes() if node["Alive"]]
        return default_budget() // max(1, *cores)

    def say(self) -> Callable[[str], None]:
        """Where progress goes."""
        shown = sys.stderr.isatty() if self.progress is None else self.progress
        if not shown:
            return logger.info
        from rich.console import Console

        console = Console(stderr=True)
        return lambda sentence: console.print(f"· {sentence}", highlight=False, markup=False, soft_wrap=True)

    def new_folder(self) -> Path:
        """A folder of this job's own. Raises `StorageError` where it cannot be made."""
        try:
            if self.work_folder is not None:
                self.work_folder.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix="point-in-time-", dir=self.work_folder))
        except OSError as error:
            raise StorageError(
                "The work folder of the point-in-time join cannot be written.",
                where=f"offline_store.work_folder = {self.work_folder or tempfile.gettempdir()}",
                found=error.strerror or str(error),
                fix="name a folder that can be written: offline_store.work_folder in feature_store.yaml",
            ) from error

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder of this job's own that is removed afterwards."""
        folder = self.new_folder()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class HistoricalJob(RetrievalJob):
    """Features joined to an entity frame, as Arrow, pandas, Parquet or a Ray Dataset."""

    def __init__(
        self,
        entities: Any,
        views: Sequence[JoinView],
        on_demand: OnDemandFeatures,
        refs: Sequence[str],
        full_feature_names: bool,
        settings: WorkSettings,
    ) -> None:
        self._entities = entities
        self.views = tuple(views)
        self.on_demand = on_demand
        self._refs = list(refs)
        self._full_feature_names = full_feature_names
        self._settings = settings

    def to_parquet(self, folder: str | Path) -> list[Path]:
        """Write the result, in the order of the entity frame, as Parquet files into `folder`; returns them.

        On a cluster the folder must be one that all nodes see. Files that an earlier call with the same inputs left
        there whole are kept, other results are replaced; a folder with other Parquet files is refused. Raises
        `StorageError`, and whatever the join refuses.
        """
        place = self._settings.place()
        target = _local(folder)
        with self._settings.folder() as work:
            join = self._join(work, place, lasting=True)
            return write_joined(join, self.on_demand, target, place, self._settings.say())

    def to_ray_dataset(self) -> Any:
        """A lazy Ray Dataset whose blocks are joined by Ray's workers.

        It is in the order of the entity frame where Ray Data keeps an order (`execution_options.preserve_order`).
        Large views are shuffled at once, into the work folder, which stays until this process ends.
        """
        import ray.data

        _connect_ray()
        work = self._settings.new_folder()
        atexit.register(shutil.rmtree, work, ignore_errors=True)
        join = self._join(work, "ray")
        shuffle(join, "ray", self._settings.say())
        finish = self.on_demand

        def joined(ids: dict[str, Any]) -> pa.Table:
            return finish(join_bucket(join, int(ids["id"][0])))

        buckets = join.plan.buckets
        return ray.data.range(buckets, override_num_blocks=buckets).map_batches(joined, batch_size=1)

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:  # noqa: ARG002
        """Write the result to one Parquet file, or to a folder where the path has no suffix."""
        target = _local(source_path(_Stored(storage.to_data_source()), self._settings.repo_path))
        if target.exists() and not allow_overwrite:
            from feast.errors import SavedDatasetLocationAlreadyExists

            raise SavedDatasetLocationAlreadyExists(location=str(target))
        if target.suffix:
            with atomic_file(target) as aside:
                self._write_one(aside)
            return
        aside = target.with_name(f".{target.name}.{uuid4().hex}")
        try:
            self.to_parquet(aside)
            shutil.rmtree(target, ignore_errors=True)
            aside.rename(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _write_one(self, file: Path) -> None:
        writer = None
        with self._settings.folder() as work:
            for table in self._buckets(work):
                writer = writer or pq.ParquetWriter(file, table.schema, **writer_options(table.schema))
                writer.write_table(table)
        if writer is not None:
            writer.close()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002
        with self._settings.folder() as work:
            return pa.concat_tables(list(self._buckets(work)))

    def _to_df_internal(self, timeout: int | None = None) -> Any:
        return self._to_arrow_internal(timeout).to_pandas()

    def _buckets(self, work: Path) -> Iterator[pa.Table]:
        join = self._join(work, "local")
        return joined_buckets(join, self.on_demand, self._settings.say())

    def _join(self, work: Path, place: RunsOn, *, lasting: bool = False) -> Join:
        """`lasting`: whether another run may meet what this one leaves."""
        rows: Rows = entity_rows(self._entities, work)
        identity = inputs_identity(rows, self.views, self.on_demand.identity) if lasting else uuid4().hex
        most = None
        if place == "ray":
            import ray

            rows = on_disk(rows, work)
            most = max(10_000, -(-rows.num_rows // max(1, 4 * int(ray.cluster_resources().get("CPU", 1)))))
        return new_join(
            rows,
            self.views,
            time_column(rows.schema),
            budget=self._settings.budget(place),
            folder=work,
            most_bucket_rows=most,
            identity=identity,
        )

    @property
    def full_feature_names(self) -> bool:
        """Whether features are named `view__feature`."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[Any]:
        """None: on-demand features are computed bucket by bucket, and are in the result already."""
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """Features, keys and the span of times of the result; reads the entity frame's times."""
        keys = [name for name in entity_columns(self._entities) if name != EVENT_TIMESTAMP]
        first, last = self._span
        return RetrievalMetadata(self._refs, keys, first, last)

    @cached_property
    def _span(self) -> tuple[datetime | None, datetime | None]:
        with self._settings.folder() as work:
            return time_span(entity_rows(self._entities, work))


@dataclass(frozen=True)
class _Stored:
    batch_source: Any
    name: str = "saved data set"


class SourceJob(RetrievalJob):
    """Rows of one source within a time range: all, or the newest of each key."""

    def __init__(
        self,
        path: str,
        keys: tuple[str, ...],
        features: tuple[str, ...],
        timestamp_field: str,
        created: str | None,
        span: tuple[datetime | None, datetime | None],
        *,
        latest: bool,
        settings: WorkSettings,
    ) -> None:
        columns = tuple(dict.fromkeys([*keys, *features, timestamp_field, *([created] if created else [])]))
        own = {key: key for key in keys if key != DUMMY_KEY}
        self._view = JoinView(
            name=Path(path).name,
            path=path,
            keys=tuple(own.items()),
            timestamp_field=timestamp_field,
            created=created,
            ttl=None,
            columns=tuple((name, name) for name in columns if name != DUMMY_KEY),
        )
        self._span = tuple(None if time is None else _microseconds(time) for time in span)
        self._latest = latest
        self._settings = settings

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002
        view = self._view
        rows = view.rows
        names = [name for name, _ in view.columns]
        kept = rows.read(0, 0, names)
        for begin in range(0, rows.num_rows, _PULL_ROWS):
            table = self._within(rows.read(begin, min(begin + _PULL_ROWS, rows.num_rows), names))
            kept = self._newest(pa.concat_tables([kept, table])) if self._latest else pa.concat_tables([kept, table])
        if not view.keys:
            # Feast writes such a view under one key of its own, row after row: the newest must be the last.
            keys = self._in_order(kept)
            kept = Gatherer(kept, view.columns).take(keys["__index"].cast(pl.Int64).to_numpy())
            kept = kept.append_column(DUMMY_KEY, pa.array([DUMMY_ENTITY_VAL] * kept.num_rows, pa.string()))
        return kept

    def _within(self, table: pa.Table) -> pa.Table:
        times = frame(pa.table({TIME: microseconds(table[self._view.timestamp_field])}))[TIME]
        first, last = self._span
        inside = times.is_not_null()
        if first is not None:
            inside &= times >= first
        if last is not None:
            inside &= times <= last
        return table.filter(pa.array(inside.fill_null(False).to_numpy()))

    def _in_order(self, table: pa.Table) -> pl.DataFrame:
        """Keys, times and positions (`__index`) of the rows, the newest last."""
        keys = self._view.key_frame(table).with_row_index("__index")
        return keys.sort([TIME, CREATED, "__index"] if CREATED in keys.columns else [TIME, "__index"])

    def _newest(self, table: pa.Table) -> pa.Table:
        by = list(self._view.spine_keys)
        ordered = self._in_order(table)
        newest = ordered.unique(subset=by, keep="last", maintain_order=False) if by else ordered.tail(1)
        positions = newest["__index"].sort().cast(pl.Int64).to_numpy()
        return Gatherer(table, self._view.columns).take(positions)

    def _to_df_internal(self, timeout: int | None = None) -> Any:
        return self._to_arrow_internal(timeout).to_pandas()

    @property
    def full_feature_names(self) -> bool:
        """Never: columns have the source's names."""
        return False

    @property
    def on_demand_feature_views(self) -> list[Any]:
        """None."""
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """None: there is no entity frame."""
        return None


def _local(path: str | Path) -> Path:
    if is_remote(str(path)):
        raise StorageError(
            "The result of a point-in-time join is written to local paths only.",
            where=str(path),
            allowed="a path of this machine; on a cluster, one that all nodes see",
            fix="mount the storage, or use to_ray_dataset().write_parquet(...)",
        )
    return Path(str(path).removeprefix("file://"))


def _microseconds(time: datetime) -> int:
    aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)  # as Feast understands it
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _ray_connected() -> bool:
    ray: Any = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _connect_ray() -> None:
    """To the cluster that RAY_ADDRESS names, or to a new one of this machine, until this process ends."""
    import ray

    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="ERROR")
