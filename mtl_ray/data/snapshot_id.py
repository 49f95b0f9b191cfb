"""The identity of a training set: a hash of everything that its shards depend on, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mtl_ray.data.manifest import FORMAT_VERSION, ROW_GROUP_ROWS
from mtl_ray.data.service_spec import ServiceSpec
from mtl_ray.data.source_files import SourceFingerprint
from mtl_ray.schema import Settings
from mtl_ray.tasks import TaskConfig

_NOT_IN_SHARDS = {"weight", "threshold", "normalize", "label"}
"""Fields of a task that change losses or metrics, but no label (`label` counts as the column that it means)."""


def snapshot_id(
    *,
    service: ServiceSpec,
    registry_hash: str,
    sources: tuple[SourceFingerprint, ...],
    spine_sha256: str,
    training_set: Settings,
    tasks: Mapping[str, TaskConfig],
    group_by: str | None,
) -> str:
    """Hexadecimal SHA-256.

    Content counts and places do not: paths of the spine and of the sources are left out, their hashes are in.
    `training_set` is the `TrainingSetConfig`.
    """
    document: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "row_group_rows": ROW_GROUP_ROWS,
        "service": service.model_dump(mode="json", exclude={"views": {"__all__": {"path"}}}),
        "registry_hash": registry_hash,
        "sources": {source.source: source.sha256 for source in sources},
        "spine": spine_sha256,
        "training_set": training_set.model_dump(mode="json", exclude={"spine"}),
        # A list: the order of the tasks is the order of the label columns.
        "tasks": [[name, task.label_column(name), _labelling(task)] for name, task in tasks.items()],
        "group_by": group_by,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _labelling(task: TaskConfig) -> dict[str, Any]:
    return task.model_dump(mode="json", exclude=_NOT_IN_SHARDS)
