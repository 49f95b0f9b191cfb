"""Feast retrieval jobs over the point-in-time join: nothing runs before a result is asked for."""

from __future__ import annotations

import atexit
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage

from mtl_ray.data.entity_frame import entity_columns, entity_rows, time_column, time_span
from mtl_ray.data.feast_views import source_path
from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.data.join.parquet_rows import Rows
from mtl_ray.data.join.results import inputs_identity, write_joined, writer_options
from mtl_ray.data.join.run import joined_buckets, new_join, on_disk, shuffle
from mtl_ray.data.join.stages import Join, join_bucket
from mtl_ray.data.join.views import JoinView
from mtl_ray.data.on_demand import OnDemandFeatures
from mtl_ray.data.source_files import is_remote
from mtl_ray.data.spine import EVENT_TIMESTAMP
from mtl_ray.data.task_runner import RunsOn
from mtl_ray.data.work_settings import WorkSettings, connect_ray
from mtl_ray.errors import StorageError


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

        connect_ray()
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


def _local(path: str | Path) -> Path:
    if is_remote(str(path)):
        raise StorageError(
            "The result of a point-in-time join is written to local paths only.",
            where=str(path),
            allowed="a path of this machine; on a cluster, one that all nodes see",
            fix="mount the storage, or use to_ray_dataset().write_parquet(...)",
        )
    return Path(str(path).removeprefix("file://"))
