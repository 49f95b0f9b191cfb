"""The identity of a training set: a hash of everything that its shards depend on, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mtl_ray.data.manifest import FORMAT_VERSION, ROW_GROUP_ROWS
from mtl_ray.data.service_spec import ServiceSpec
from mtl_ray.data.source_files import SourceFingerprint
from mtl_ray.data.task_inputs import task_input_columns
from mtl_ray.data.training_set_config import NOT_IN_SHARDS, TrainingSetConfig
from mtl_ray.tasks import RegressionTaskConfig, TaskConfig

_NOT_IN_SHARDS = {
    "weight",
    "threshold",
    "normalize",
    "label",
    "positive_weight",
    "class_weights",
    "calibrate",
    "given",
    "label_smoothing",
    "user",
    "item",
    "dim",
    "temperature",
    "correct_popularity",
}
"""Fields of a task that change losses or metrics, but no label (`label` counts as the column that it means)."""


def snapshot_id(
    *,
    service: ServiceSpec,
    registry_hash: str,
    sources: tuple[SourceFingerprint, ...],
    spine_sha256: str,
    training_set: TrainingSetConfig,
    tasks: Mapping[str, TaskConfig],
    group_by: str | None,
    appended_to: str | None = None,
    latest_views: Sequence[str] = (),
) -> str:
    """Hexadecimal SHA-256.

    Content counts and places do not: paths of the spine and of the sources are left out, their hashes are in.
    `appended_to` names the training set below this one and the first time
    of its own rows; `latest_views` are those that were joined by their keys alone.
    """
    settings = training_set.model_dump(mode="json", exclude=NOT_IN_SHARDS)
    if training_set.preprocessing.evict_after is None:
        del settings["preprocessing"]["evict_after"]  # sets from before there was one keep their ids
    document: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "row_group_rows": ROW_GROUP_ROWS,
        "service": service.model_dump(mode="json", exclude={"views": {"__all__": {"path"}}}),
        "registry_hash": registry_hash,
        "sources": {source.source: source.sha256 for source in sources},
        "spine": spine_sha256,
        "training_set": settings,
        # A list: the order of the tasks is the order of the label columns.
        "tasks": [[name, task.label_column(name), labelling(task)] for name, task in tasks.items()],
        "task_inputs": task_input_columns(tasks),
        "group_by": group_by,
        "appended_to": appended_to,
    }
    if latest_views:
        document["latest_views"] = sorted(latest_views)
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def labelling(task: TaskConfig) -> dict[str, Any]:
    """What of a task's config its encoded labels depend on, beside the column that they are in."""
    # The loss of a regression says which labels are allowed.
    other = set() if isinstance(task, RegressionTaskConfig) else {"loss"}
    return task.model_dump(mode="json", exclude=_NOT_IN_SHARDS | other)
