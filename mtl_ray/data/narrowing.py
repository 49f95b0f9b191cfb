"""A training set for some of its tasks: a model of click alone, on the rows that were encoded for click, cart and more.

The shards stay as they are. A batch takes the label columns of the wanted tasks, in their order, and the columns that
these tasks read beside their labels. What the snapshot did to a label stays done: `observed_when` is in its observed
flags, even where the condition is another task's label that nobody trains on.
"""

from __future__ import annotations

from collections.abc import Mapping

from mtl_ray.data.manifest import Manifest
from mtl_ray.errors import ConfigError
from mtl_ray.schema import BatchSchema, LabelStatistics
from mtl_ray.tasks import ClassTaskSettings, TaskConfig


def narrowed(schema: BatchSchema, tasks: Mapping[str, TaskConfig]) -> BatchSchema:
    """`schema` of a snapshot for `tasks`, all or some of its own, in their order."""
    read = {column for task in tasks.values() for column in task.input_columns()}
    inputs = tuple(column for column in schema.task_inputs if column in read)
    return schema.model_copy(update={"tasks": tuple(tasks), "task_inputs": inputs})


def narrowed_statistics(manifest: Manifest, tasks: Mapping[str, TaskConfig]) -> dict[str, LabelStatistics]:
    """Those of `tasks`, in their order."""
    return {name: manifest.label_statistics[name] for name in tasks}


def check_narrowing(manifest: Manifest, tasks: Mapping[str, TaskConfig], group_by: str | None) -> None:
    """Raise `ConfigError` unless `tasks` can be trained on the training set of `manifest`.

    That their labels are read as they were when it was built (label column, transform, classes) is the caller's to
    know: it records what the labels are, not how each came about.
    """
    where = f"training set {manifest.id[:12]}"
    known = manifest.label_statistics
    for name, task in tasks.items():
        if name not in known:
            raise ConfigError(
                "The training set has no labels of a task.",
                where=where,
                found=f"tasks.{name}",
                allowed=", ".join(known),
                fix="build one for all tasks, or leave the task out",
            )
        counts = known[name].class_counts
        if isinstance(task, ClassTaskSettings) and len(counts or ()) != len(task.classes):
            raise ConfigError(
                "The training set was built for other classes of a task.",
                where=f"tasks.{name}.classes",
                found=f"{len(task.classes)} classes",
                allowed="no classes" if counts is None else f"{len(counts)} classes",
            )
    for name, found in known.items():
        if name not in tasks and (found.negative_keep < 1.0 or found.positive_repeat > 1.0):
            raise ConfigError(
                f"The training rows were sampled by the label of {name}: no loss can be corrected without that task.",
                where="training_set.negative_sampling, training_set.over_sampling",
                found=f"tasks {', '.join(tasks)}",
                allowed=f"tasks with {name} among them",
                fix=f"train {name} as well, or do not sample",
            )
    columns = (*manifest.join_keys, *((manifest.group_by,) if manifest.group_by is not None else ()))
    if group_by is not None and group_by not in columns:
        raise ConfigError(
            "The training set does not hold the column to group by.",
            where="evaluation.group_by",
            found=group_by,
            allowed=", ".join(columns),
            fix="name one of these, or build a training set for it",
        )
