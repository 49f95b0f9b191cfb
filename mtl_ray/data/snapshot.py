"""Building a training set: point-in-time join, contract, split, fitted preprocessing, encoded shards and a manifest.

The same inputs give the same snapshot, which is found again instead of being built twice. A build that was killed goes
on where it stood.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mtl_ray.data.building.append import Base, open_base
from mtl_ray.data.building.buckets import (
    CONTRACT_FOLDER,
    PREPROCESSING_FOLDER,
    QUARANTINE_FILE,
    BucketRecord,
    prepare_bucket,
)
from mtl_ray.data.building.build import Build
from mtl_ray.data.building.shards import ShardPlan, check_column_names, encode_bucket, plan_shards, write_shard
from mtl_ray.data.building.spine_check import check_spine
from mtl_ray.data.building.work_folder import keep_plan, kept_plan, move_into_place, work_folder
from mtl_ray.data.contract.names import check_names
from mtl_ray.data.contract.result import ContractResult, check
from mtl_ray.data.contract.state import ContractState
from mtl_ray.data.contract.summary import summarise
from mtl_ray.data.feature_store import FeatureRepo, FeaturesConfig
from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.data.join.progress import RowProgress, Say
from mtl_ray.data.join.stages import forget_views
from mtl_ray.data.labels import label_columns, label_summary, merged_label_counts
from mtl_ray.data.manifest import (
    FORMAT_VERSION,
    LABELS_FILE,
    MANIFEST_FILE,
    ROW_GROUP_ROWS,
    FileRecord,
    Manifest,
    SpineRecord,
)
from mtl_ray.data.preprocessing import Preprocessing
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.sampling import with_sampling
from mtl_ray.data.snapshot_files import Snapshot, open_snapshot
from mtl_ray.data.snapshot_id import snapshot_id
from mtl_ray.data.source_files import SourceFingerprint, content_hash
from mtl_ray.data.spine import EVENT_TIMESTAMP, ROW_ID, Spine, open_spine, spine_files
from mtl_ray.data.splits import PARTS, SplitPlan
from mtl_ray.data.staging import writable_folder
from mtl_ray.data.task_runner import RunsOn, run_tasks
from mtl_ray.data.training_set_config import TrainingSetConfig
from mtl_ray.errors import DataError
from mtl_ray.tasks import TaskConfig

__all__ = ["Snapshot", "TrainingSetConfig", "build_training_set", "open_snapshot"]

RAY_ROWS = 2_000_000
"""Spine rows from which on starting a local Ray pays: below, its start takes longer than the whole build."""

MOST_BUCKET_ROWS = 1 << 18
"""Rows of a bucket at most: what a killed build loses, and what progress is told in."""

_PACKAGES = ("mtl-ray", "feast", "polars", "pyarrow", "numpy")


def build_training_set(
    storage: str,
    features: FeaturesConfig,
    training_set: TrainingSetConfig,
    tasks: Mapping[str, TaskConfig],
    group_by: str | None = None,
    progress: Say | None = None,
    since: datetime | None = None,
    base: Path | None = None,
    latest_views: Sequence[str] = (),
) -> Snapshot:
    """The training set in `<storage>/training_sets/<service>-<id>`, found or built.

    Args:
        storage: folder that all processes see.
        features, training_set, tasks: what to build.
        group_by: join key or spine column that metrics group by; it is kept raw in the shards.
        progress: told each step in a sentence.
        since: only spine rows from this time on are new; they are put on top of `base`, whose fitted preprocessing is
            kept.
        base: a finished training set; None: the newest of the service in `storage`.
        latest_views: views of which every row gets the newest values, whatever its time. That leaks, as the leak meter
            measures: no config can ask for it, nothing is appended to it, and its sets belong in a storage of their
            own.

    Raises:
        StorageError, FeatureStoreError, DataError, SnapshotError, ConfigError: each before anything stands under the
            final name; mistakes in config, spine and split come up before the join.
    """
    say = progress or (lambda _: None)
    folder = writable_folder(f"{storage.rstrip('/')}/training_sets")
    say(f"reading feature service {features.service} from {features.repo}")
    if since is not None and latest_views:
        raise ValueError("latest_views cannot be appended")
    inputs = _Inputs.read(FeatureRepo(features), training_set, tasks, group_by, tuple(latest_views))
    check_names(training_set.contract, inputs.repo.spec, tasks)
    old = None if since is None else open_base(folder, base, since, inputs.repo, training_set, tasks, group_by)
    identity = inputs.identity(old)
    final = folder / f"{features.service}-{identity[:12]}"
    if final.exists():
        say(f"found the training set {final}")
        return open_snapshot(final)
    check_column_names(inputs.carried)
    with work_folder(final, say) as work:
        if final.exists():  # built by a process that this one waited for
            return open_snapshot(final)
        spine = inputs.spine if old is None else old.new_rows(inputs.spine, work, say)
        say(f"checking {spine.num_rows:,} spine rows")
        check_spine(spine, inputs.repo.spec, tasks, training_set.contract, group_by)
        split = training_set.split.plan(spine.scan)
        with _place(training_set.runs_on, spine.num_rows, say) as (runs_on, budget):
            build = inputs.plan(work, spine, split, training_set.memory_budget or budget, identity)
            manifest = _Building(inputs, build, old, identity, runs_on, final, say).finish(spine)
        (build.result / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1, by_alias=True))
        move_into_place(build.result, final)
    say(f"wrote the training set {final}")
    return replace(open_snapshot(final), found=False)


@dataclass(frozen=True)
class _Inputs:
    """Everything that a snapshot is built from."""

    repo: FeatureRepo
    config: TrainingSetConfig
    tasks: Mapping[str, TaskConfig]
    group_by: str | None
    spine: Spine
    sources: tuple[SourceFingerprint, ...]
    spine_sha256: str
    latest_views: tuple[str, ...]

    @classmethod
    def read(
        cls,
        repo: FeatureRepo,
        config: TrainingSetConfig,
        tasks: Mapping[str, TaskConfig],
        group_by: str | None,
        latest_views: tuple[str, ...],
    ) -> _Inputs:
        """Open the spine and check its columns; fingerprint all sources."""
        labels = label_columns(tasks)
        extra = [name for name in (config.sample_weight, *config.split.columns) if name is not None]
        spine = open_spine(config.spine, list(repo.spec.join_keys), labels, repo.spec.context, extra, group_by)
        _check_names(repo, spine.columns, labels)
        sources = repo.source_fingerprints()
        spine_sha256 = content_hash(spine_files(config.spine))
        return cls(repo, config, tasks, group_by, spine, sources, spine_sha256, latest_views)

    @property
    def carried(self) -> tuple[str, ...]:
        """Raw columns of the shards."""
        group = [self.group_by] if self.group_by is not None else []
        return tuple(dict.fromkeys([*self.repo.spec.join_keys, EVENT_TIMESTAMP, *group]))

    def identity(self, base: Base | None) -> str:
        """The snapshot's id."""
        return snapshot_id(
            service=self.repo.spec,
            registry_hash=self.repo.registry_hash,
            sources=self.sources,
            spine_sha256=self.spine_sha256,
            training_set=self.config,
            tasks=self.tasks,
            group_by=self.group_by,
            appended_to=None if base is None else base.key,
            latest_views=self.latest_views,
        )

    def plan(self, work: Path, spine: Spine, split: SplitPlan, budget: int | None, identity: str) -> Build:
        """The build, cut as an unfinished one in `work` was."""
        join = self.repo.plan_join(
            spine,
            (*spine.columns, ROW_ID),
            folder=work / "join",
            budget=budget,
            most_bucket_rows=MOST_BUCKET_ROWS,
            identity=identity,
            kept_plan=partial(kept_plan, work),
            latest_views=self.latest_views,
        )
        keep_plan(work, join.join.plan, join.budget)
        return Build(work, join, self.repo.spec, self.config, self.tasks, split, self.carried)


@dataclass(frozen=True)
class _Building:
    """The stages, one after the other; each goes on where an earlier process stopped."""

    inputs: _Inputs
    build: Build
    base: Base | None
    identity: str
    runs_on: RunsOn
    final: Path
    say: Say

    def finish(self, spine: Spine) -> Manifest:
        """Everything but the manifest file itself."""
        build = self.build
        records = self._prepare(spine.num_rows)
        contract = self._check_contract(records)
        preprocessing, growth = self._fit(records)
        shards = plan_shards(build, records)
        with atomic_file(build.preprocessing_file) as aside:
            aside.write_text(preprocessing.model_dump_json())
        files = self._write_shards(shards)
        rows = dict(zip(PARTS, map(sum, zip(*(record.rows for record in records), strict=True)), strict=True))
        written = {part: shards.rows(number) for number, part in enumerate(PARTS)}
        counts = [pq.read_table(folder / LABELS_FILE) for folder in self._folders]
        if self.base is not None:
            files = self.base.put_below(build.result, files)
            counts = [self.base.label_counts(), *counts]
            rows, written = self.base.added(rows), self.base.added(written)
        statistics, rates = label_summary(counts, build.tasks)
        with atomic_file(build.result / LABELS_FILE) as aside:
            pq.write_table(merged_label_counts(counts), aside)
        contract.write(build.result)
        boundaries = build.split.boundaries
        return Manifest(
            format_version=FORMAT_VERSION,
            id=self.identity,
            created=datetime.now(UTC),
            versions=_versions(),
            service=build.spec,
            registry_hash=self.inputs.repo.registry_hash,
            sources=self.inputs.sources,
            spine=SpineRecord(
                path=build.config.spine, sha256=self.inputs.spine_sha256, rows=spine.first_id + spine.num_rows
            ),
            split=build.config.split,
            boundaries=boundaries if self.base is None else self.base.boundaries_with(boundaries),
            rows=written,
            rows_before_sampling=rows,
            quarantined=contract.quarantined,
            files=files,
            row_group_rows=ROW_GROUP_ROWS,
            shuffle_seed=build.config.shuffle_seed,
            join_keys=tuple(build.spec.join_keys),
            group_by=self.inputs.group_by,
            sample_weight=build.config.sample_weight,
            schema=preprocessing.batch_schema(tuple(build.tasks)),
            preprocessing=preprocessing,
            missing=preprocessing.missing,
            label_statistics=with_sampling(statistics, build.config.negative_sampling, build.config.over_sampling),
            label_rates=rates,
            appended=None if self.base is None else self.base.record(growth),
        )

    @property
    def _folders(self) -> list[Path]:
        return [self.build.bucket_folder(bucket) for bucket in range(self.build.join.buckets)]

    def _prepare(self, spine_rows: int) -> list[BucketRecord]:
        """Join, check, split and count every bucket."""
        build, say = self.build, self.say
        done = sum(folder.is_dir() for folder in self._folders)
        if done:
            say(f"going on with an unfinished build: {done} of {len(self._folders)} buckets are done")
        say(f"joining {build.join.join.plan.describe(build.join.join.views)}")
        build.join.prepare(self.runs_on, say)
        self._run(prepare_bucket, range(build.join.buckets), "joining", spine_rows, lambda record: record.spine_rows)
        forget_views()
        return [prepare_bucket(build, bucket) for bucket in range(build.join.buckets)]

    def _check_contract(self, records: Sequence[BucketRecord]) -> ContractResult:
        """The contract's verdict; the quarantined rows are put together. Raises `DataError` where it stops the run."""
        build = self.build
        states = [ContractState.read(folder / CONTRACT_FOLDER) for folder in self._folders]
        result = summarise(states, build.spec, build.tasks, build.config.contract)
        quarantine = build.result / "quarantine"
        build.result.mkdir(exist_ok=True)
        for bucket, record in enumerate(records):
            if record.quarantined:
                quarantine.mkdir(exist_ok=True)
                shutil.copyfile(self._folders[bucket] / QUARANTINE_FILE, quarantine / f"part-{bucket:05d}.parquet")
        if result.of("stop"):
            rejected = self.final.with_name(f"{self.final.name}.rejected")
            shutil.rmtree(rejected, ignore_errors=True)
            rejected.mkdir()
            result.write(rejected)
            if quarantine.is_dir():
                quarantine.rename(rejected / quarantine.name)
            check(result, rejected)
        for number, part in enumerate(PARTS):
            if not any(record.rows[number] for record in records):
                raise DataError(
                    f"The {part} part has no row left.",
                    where="training_set.contract",
                    found=f"{result.quarantined:,} rows in quarantine",
                    allowed="at least one row in each of train, validation and test",
                )
        return result

    def _fit(self, records: Sequence[BucketRecord]) -> tuple[Preprocessing, dict[str, Any]]:
        """The preprocessing, and how an appended one's vocabularies grew."""
        folders = [folder / PREPROCESSING_FOLDER for folder in self._folders]
        rows = sum(record.rows[0] for record in records)
        if self.base is None:
            self.say(f"fitting the preprocessing to {rows:,} training rows")
            return PreprocessingState.finish_from(folders), {}
        self.say(f"keeping the fitted preprocessing; {rows:,} new training rows may add to its vocabularies")
        state = PreprocessingState.merged_from(folders)
        return self.base.grown(state, self.build.config.preprocessing, self.say)

    def _write_shards(self, plan: ShardPlan) -> dict[str, tuple[FileRecord, ...]]:
        build = self.build
        total = sum(map(plan.rows, range(len(PARTS))))
        self.say(f"encoding {total:,} rows and writing {len(plan.labels())} shards")
        self._run(partial_of(encode_bucket, plan), range(build.join.buckets), "encoding", total, int)
        outcomes = self._run(
            partial_of(write_shard, plan), range(len(plan.labels())), "writing", total, lambda found: found[1].rows
        )
        files: dict[str, tuple[FileRecord, ...]] = {}
        for number, part in enumerate(PARTS):
            records = sorted((record for at, record in outcomes if at == number), key=lambda record: record.path)
            files[part] = tuple(records)
        return files

    def _run(
        self, function: Callable[..., Any], pieces: Sequence[int], stage: str, total: int, rows: Callable[[Any], int]
    ) -> list[Any]:
        """Outcomes of `function(build, piece)`, in any order, with progress in rows."""
        progress = RowProgress(total, self.say)
        outcomes, done = [], 0
        for outcome in run_tasks(partial(function, self.build), pieces, self.runs_on):
            outcomes.append(outcome)
            done += rows(outcome)
            progress.add(rows(outcome), stage, done, total)
        return outcomes


def partial_of(function: Callable[..., Any], plan: ShardPlan) -> Callable[[Build, int], Any]:
    """`function(build, plan, piece)` as a function of build and piece."""
    return _WithPlan(function, plan)


@dataclass(frozen=True)
class _WithPlan:
    function: Callable[..., Any]
    plan: ShardPlan

    def __call__(self, build: Build, piece: int) -> Any:
        return self.function(build, self.plan, piece)


@contextmanager
def _place(wanted: str, rows: int, say: Say) -> Iterator[tuple[RunsOn, int | None]]:
    """Where the pieces run, and the budget of one process there (None: whatever the offline store has)."""
    cluster = bool(os.environ.get("RAY_ADDRESS"))
    if wanted == "local" or (wanted == "auto" and not cluster and rows < RAY_ROWS):
        yield "local", None
        return
    from mtl_ray.cluster import ray_session

    say("building on Ray" + ("" if cluster or "ray" in sys.modules else ", which is started here"))
    with ray_session(os.cpu_count() or 1):
        import ray

        from mtl_ray.data.join.budget import default_budget

        cores = [int(node["Resources"].get("CPU", 1)) for node in ray.nodes() if node["Alive"]]
        yield "ray", default_budget() // max(1, *cores)


def _check_names(repo: FeatureRepo, columns: Sequence[str], labels: Sequence[str]) -> None:
    """Raise `DataError` where a feature and a column of the spine share a name, or a label would be an input."""
    spec = repo.spec
    for feature in spec.features:
        kept = spec.join_keys if feature.source == "key" else spec.context
        if feature.name in columns and (feature.name not in kept or feature.name in labels):
            raise DataError(
                f"The name {feature.name!r} is a feature and a label or weight column of the spine.",
                where=f"feature view {feature.view}" if feature.view else f"features.{feature.source}",
                fix="rename one of them: a label must never be an input",
            )
    for name in spec.request_columns:
        if name in labels:
            raise DataError(
                f"An on-demand view reads {name!r}, which is a label column of the spine.",
                where=f"feature service {spec.service}",
                found=f"request columns {', '.join(spec.request_columns)}",
                fix="take the column out of the view's request source: a label must never be an input",
            )


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree
            found[package] = "unknown"
    return found
