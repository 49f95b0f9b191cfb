"""New rows on top of a finished training set: its shards and its fitted preprocessing stay as they are.

The new rows are split among themselves. By time, all older rows train: what validated and tested before lies before
the new rows' training part, and later rows must never train a model that earlier rows judge. By any other split the
older rows stay in their parts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mtl_ray.data.building.renumbering import renumber, renumbered_ids
from mtl_ray.data.building.sights import last_sights
from mtl_ray.data.feature_store import FeatureRepo
from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.data.join.parquet_rows import ParquetRows, chunk_ranges
from mtl_ray.data.manifest import LABELS_FILE, MANIFEST_FILE, AppendRecord, FileRecord
from mtl_ray.data.preprocessing import Preprocessing, PreprocessingConfig
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.snapshot_files import Snapshot, open_snapshot
from mtl_ray.data.spine import EVENT_TIMESTAMP, SCAN_ROWS, TIMESTAMP_TYPE, Spine
from mtl_ray.data.splits import PARTS, SplitBoundaries
from mtl_ray.data.task_inputs import task_input_columns
from mtl_ray.data.training_set_config import TrainingSetConfig
from mtl_ray.data.vocabulary_growth import Growth, grow
from mtl_ray.errors import DataError, SnapshotError
from mtl_ray.storage import below, fetch, is_remote, newest_first
from mtl_ray.tasks import TaskConfig


@dataclass(frozen=True)
class Base:
    """The training set that rows are appended to."""

    snapshot: Snapshot
    since: datetime
    by_time: bool

    @property
    def key(self) -> str:
        """What the appended set's id depends on."""
        return f"{self.snapshot.manifest.id} {self.since.isoformat()}"

    def is_behind(self, spine: Spine) -> bool:
        """Whether the spine has a row from `since` on."""
        first = pa.scalar(self.since, TIMESTAMP_TYPE)
        return any(pc.any(pc.greater_equal(rows[EVENT_TIMESTAMP], first)).as_py() for rows in spine.scan(()))

    def new_rows(self, spine: Spine, work: Path, say: Callable[[str], None]) -> Spine:
        """The spine's rows from `since` on, numbered on from the base's. Raises `DataError` where there is none."""
        file = work / "new_rows.parquet"
        if not file.exists():
            say(f"taking the spine's rows from {self.since.isoformat()} on")
            first = pa.scalar(self.since, TIMESTAMP_TYPE)
            schema = pa.schema([spine.rows.schema.field(name) for name in spine.columns])
            with atomic_file(file) as aside, pq.ParquetWriter(aside, schema, compression="lz4") as writer:
                for begin, end in chunk_ranges(spine.num_rows, SCAN_ROWS):
                    late = pc.greater_equal(spine.read(begin, end, (EVENT_TIMESTAMP,))[EVENT_TIMESTAMP], first)
                    writer.write_table(spine.rows.read(begin, end, spine.columns).filter(late))
        rows = ParquetRows.of(file)
        if rows.num_rows == 0:
            raise DataError(
                "The spine has no row to append.",
                where="--since",
                found=f"no row from {self.since.isoformat()} on",
                allowed="a time before the newest row of the spine",
            )
        return Spine(rows, spine.keys, spine.columns, self.snapshot.manifest.spine.rows)

    def grown(
        self, state: PreprocessingState, config: PreprocessingConfig, say: Callable[[str], None]
    ) -> tuple[Preprocessing, dict[str, Growth]]:
        """The base's preprocessing with what new training rows add to its vocabularies; says which grew."""
        sights = None if config.evict_after is None else last_sights(self.snapshot, self.by_time)
        preprocessing, growth = grow(self.snapshot.manifest.preprocessing, state, config, sights)
        for name, item in growth.items():
            if item.evicted:
                say(f"vocabulary {name}: {item.evicted:,} values are forgotten, not seen for {config.evict_after}")
            if item.added:
                say(
                    f"vocabulary {name}: {item.added:,} new values, now {item.new_size:,} ids; "
                    f"{item.unknown_share:.1%} of the new rows' values had none before"
                )
        if not any(item.added or item.evicted for item in growth.values()):
            say("no vocabulary has grown")
        return preprocessing, growth

    def put_below(
        self, result: Path, files: Mapping[str, tuple[FileRecord, ...]], preprocessing: Preprocessing
    ) -> dict[str, tuple[FileRecord, ...]]:
        """Link (or copy) the base's shards into `result`, before the new ones of their parts; written anew where values
        have other ids in `preprocessing`, that of the result."""
        ids = renumbered_ids(self.snapshot.manifest.preprocessing, preprocessing)
        merged = {part: list(records) for part, records in files.items()}
        old: dict[str, list[FileRecord]] = {part: [] for part in PARTS}
        number = 0
        for part in PARTS:
            target = PARTS[0] if self.by_time else part
            for record in self.snapshot.manifest.files[part]:
                name = f"{target}/base-{number:05d}.parquet"
                number += 1
                (result / target).mkdir(exist_ok=True)
                _link(below(self.snapshot.place, record.path), result / name)
                moved = record.model_copy(update={"path": name})
                old[target].append(renumber(result / name, moved, ids, preprocessing) if ids else moved)
        return {part: (*old[part], *merged[part]) for part in PARTS}

    def label_counts(self) -> pa.Table:
        """The base's label counts, in the parts where its rows are now."""
        counts = pq.read_table(self.snapshot.path / LABELS_FILE)
        if self.by_time:
            part = pa.array([0] * counts.num_rows, counts.schema.field("part").type)
            counts = counts.set_column(counts.column_names.index("part"), "part", part)
        return counts

    def added(self, rows: Mapping[str, int]) -> dict[str, int]:
        """Rows by part with the base's."""
        old = self.snapshot.manifest.rows
        if self.by_time:
            return {**rows, PARTS[0]: rows[PARTS[0]] + sum(old.values())}
        return {part: rows[part] + old[part] for part in PARTS}

    def boundaries_with(self, new: SplitBoundaries) -> SplitBoundaries:
        """The new rows' boundaries, from the base's first row on."""
        return new.model_copy(update={"first": self.snapshot.manifest.boundaries.first})

    def record(self, growth: Mapping[str, Growth]) -> AppendRecord:
        """What the manifest says of it."""
        manifest = self.snapshot.manifest
        return AppendRecord(
            base=manifest.id, since=self.since, base_rows=sum(manifest.rows.values()), vocabularies=dict(growth)
        )


def open_base(
    place: str,
    path: str | Path | None,
    since: datetime,
    repo: FeatureRepo,
    config: TrainingSetConfig,
    tasks: Mapping[str, TaskConfig],
    group_by: str | None,
) -> Base:
    """The training set at `path`, or the newest of the service at `place`, checked to take new rows from `since` on.

    Raises `SnapshotError` where there is none or it was built otherwise, and `DataError` for a time without a zone or
    within the rows that it holds.
    """
    if since.utcoffset() is None:
        raise DataError("--since needs a time zone.", where="--since", found=since.isoformat(), fix=f"{since}+00:00")
    snapshot = open_snapshot(path if path is not None else newest_training_set(place, repo.spec.service))
    manifest = snapshot.manifest
    last = manifest.boundaries.last
    if since <= last:
        raise DataError(
            "The training set holds rows from this time on already.",
            where=f"--since, training set {snapshot.path}",
            found=f"{since.isoformat()}; its last row is of {last.isoformat()}",
            allowed=f"a time after {last.isoformat()}",
        )
    if config.negative_sampling is not None or config.over_sampling is not None:
        raise DataError(
            "Rows cannot be appended to a sampled training set: its older test rows, which become training rows, were "
            "never sampled.",
            where="training_set.negative_sampling, training_set.over_sampling",
            fix="build the whole set again, without --since",
        )
    if config.split.by in ("group", "k_fold"):
        raise DataError(
            f"Rows cannot be appended under a {config.split.by} split: its parts are drawn over all rows.",
            where="training_set.split.by",
            found=config.split.by,
            allowed="time, random or stratified",
            fix="build the whole set again, without --since",
        )
    _check_same("features (feast apply has changed them)", repo.registry_hash, manifest.registry_hash, snapshot)
    _check_same("features.keys and context", repo.spec.features, manifest.service.features, snapshot)
    _check_same("tasks", tuple(tasks), manifest.batch_schema.tasks, snapshot)
    _check_same("columns that tasks read", task_input_columns(tasks), manifest.batch_schema.task_inputs, snapshot)
    _check_same("evaluation.group_by", group_by, manifest.group_by, snapshot)
    _check_same("training_set.sample_weight", config.sample_weight, manifest.sample_weight, snapshot)
    _check_same("training_set.split.by", config.split.by, manifest.split.by, snapshot)
    return Base(snapshot, since, config.split.by == "time")


def after(path: str | Path) -> datetime:
    """The first time that is after all rows of the training set at `path`."""
    return open_snapshot(path).manifest.boundaries.last + timedelta(microseconds=1)  # what event_timestamp resolves


def find_newest(place: str, service: str) -> str | None:
    """Folder or URI of the training set of a service, among those in `place`, that was built last; None: no such."""
    manifests = newest_first(place, f"{service}-*/{MANIFEST_FILE}")
    return below(place, manifests[0].rsplit("/", 1)[0]) if manifests else None


def newest_training_set(place: str, service: str) -> str:
    """As `find_newest`. Raises SnapshotError where there is none."""
    newest = find_newest(place, service)
    if newest is None:
        raise SnapshotError(
            "There is no training set of the service.",
            where=place,
            found=f"none of service {service}",
            fix="build one with jobs/build_training_set.py, without --since, or name one",
        )
    return newest


def _check_same(what: str, now: Any, then: Any, snapshot: Snapshot) -> None:
    if now != then:
        raise SnapshotError(
            "The training set was built otherwise, so that rows cannot be appended to it.",
            where=f"{what}, training set {snapshot.path}",
            found=str(now)[:200],
            allowed=str(then)[:200],
            fix="name another one with --base, or build the whole set again, without --since",
        )


def _link(source: str, target: Path) -> None:
    target.unlink(missing_ok=True)
    if is_remote(source):
        fetch(source, target)
        return
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
