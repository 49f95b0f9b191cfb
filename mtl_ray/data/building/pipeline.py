"""The stages of a build, one after the other, from prepared buckets to the manifest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mtl_ray.data.building.append import Base
from mtl_ray.data.building.buckets import (
    CONTRACT_FOLDER,
    PREPROCESSING_FOLDER,
    QUARANTINE_FILE,
    BucketRecord,
    prepare_bucket,
)
from mtl_ray.data.building.build import Build
from mtl_ray.data.building.inputs import Inputs
from mtl_ray.data.building.shards import ShardPlan, encode_bucket, plan_shards, write_shard
from mtl_ray.data.contract.result import ContractResult, check
from mtl_ray.data.contract.state import ContractState
from mtl_ray.data.contract.summary import summarise
from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.data.join.progress import RowProgress, Say
from mtl_ray.data.join.stages import forget_views
from mtl_ray.data.labels import label_summary, merged_label_counts
from mtl_ray.data.manifest import FORMAT_VERSION, LABELS_FILE, ROW_GROUP_ROWS, FileRecord, Manifest, SpineRecord
from mtl_ray.data.preprocessing import Preprocessing
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.sampling import with_sampling
from mtl_ray.data.sequences import truncation_notes
from mtl_ray.data.spine import Spine
from mtl_ray.data.splits import PARTS
from mtl_ray.data.task_inputs import task_input_columns
from mtl_ray.data.task_runner import RunsOn, run_tasks
from mtl_ray.errors import DataError

_PACKAGES = ("mtl-ray", "feast", "polars", "pyarrow", "numpy")


@dataclass(frozen=True)
class Pipeline:
    """The stages, one after the other; each goes on where an earlier process stopped."""

    inputs: Inputs
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
            files = self.base.put_below(build.result, files, preprocessing)
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
            schema=preprocessing.batch_schema(tuple(build.tasks), task_input_columns(build.tasks)),
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
            preprocessing = PreprocessingState.finish_from(folders)
            for note in truncation_notes(preprocessing.lists, preprocessing.truncated, rows):
                self.say(note)
            return preprocessing, {}
        self.say(f"keeping the fitted preprocessing; {rows:,} new training rows may add to its vocabularies")
        state = PreprocessingState.merged_from(folders)
        grown = self.base.grown(state, self.build.config.preprocessing, self.say)
        for note in truncation_notes(grown[0].lists, state.header.truncated_rows, rows):
            self.say(note)
        return grown

    def _write_shards(self, plan: ShardPlan) -> dict[str, tuple[FileRecord, ...]]:
        build = self.build
        total = sum(map(plan.rows, range(len(PARTS))))
        self.say(f"encoding {total:,} rows and writing {len(plan.labels())} shards")
        self._run(_with_plan(encode_bucket, plan), range(build.join.buckets), "encoding", total, int)
        outcomes = self._run(
            _with_plan(write_shard, plan), range(len(plan.labels())), "writing", total, lambda found: found[1].rows
        )
        for left in build.result.glob("*/.part-*"):  # of processes and nodes that were lost while they wrote
            left.unlink(missing_ok=True)
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


def _with_plan(function: Callable[..., Any], plan: ShardPlan) -> Callable[[Build, int], Any]:
    """`function(build, plan, piece)` as a function of build and piece."""
    return _WithPlan(function, plan)


@dataclass(frozen=True)
class _WithPlan:
    function: Callable[..., Any]
    plan: ShardPlan

    def __call__(self, build: Build, piece: int) -> Any:
        return self.function(build, self.plan, piece)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree
            found[package] = "unknown"
    return found
