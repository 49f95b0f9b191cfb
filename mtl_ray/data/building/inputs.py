"""Everything that a training set is built from, opened and checked without reading a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mtl_ray.data.building.append import Base
from mtl_ray.data.building.build import Build
from mtl_ray.data.building.work_folder import keep_plan, kept_plan
from mtl_ray.data.contract.names import check_names
from mtl_ray.data.feature_store import FeatureRepo
from mtl_ray.data.labels import label_columns
from mtl_ray.data.sequences import check_length_names
from mtl_ray.data.snapshot_id import snapshot_id
from mtl_ray.data.source_files import SourceFingerprint, content_hash
from mtl_ray.data.spine import EVENT_TIMESTAMP, ROW_ID, Spine, open_spine, spine_files, spine_schema
from mtl_ray.data.splits import SplitPlan
from mtl_ray.data.task_inputs import check_task_inputs
from mtl_ray.data.training_set_config import TrainingSetConfig
from mtl_ray.data.vocabulary_names import check_vocabulary_names
from mtl_ray.errors import DataError
from mtl_ray.tasks import TaskConfig

MOST_BUCKET_ROWS = 1 << 18
"""Rows of a bucket at most: what a killed build loses, and what progress is told in."""


@dataclass(frozen=True)
class Inputs:
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
    ) -> Inputs:
        """Open the spine and check its columns; fingerprint all sources, which reads each file once."""
        check_names(config.contract, repo.spec, tasks)
        check_length_names(config.preprocessing.list_max_lengths, repo.spec.features)
        check_vocabulary_names(config.preprocessing.unknown_ids, repo.spec.features)
        inputs = check_task_inputs(tasks, repo.spec, spine_schema(config.spine))
        labels = label_columns(tasks)
        extra = [name for name in (config.sample_weight, *config.split.columns, *inputs) if name is not None]
        spine = open_spine(config.spine, list(repo.spec.join_keys), labels, repo.spec.context, extra, group_by)
        _check_columns(repo, spine.columns, labels)
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


def _check_columns(repo: FeatureRepo, columns: Sequence[str], labels: Sequence[str]) -> None:
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
