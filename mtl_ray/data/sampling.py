"""Imbalance in the data: fewer negatives and more positives of one binary task among the training rows.

Only training rows are sampled. Predictions are of the true rates all the same: see `mtl_ray.tasks.binary` for the
sampled task and `mtl_ray.tasks.losses` for all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from mtl_ray.data.labels import Labels
from mtl_ray.data.splits.hashing import stream_key, uniform
from mtl_ray.errors import ConfigError, nearest
from mtl_ray.schema import LabelStatistics, Settings
from mtl_ray.tasks import BinaryTaskConfig, TaskConfig

Seed = Annotated[int, Field(ge=0, lt=2**63)]


class NegativeSamplingConfig(Settings):
    """`{task: click, keep: 0.1}`: of the training rows whose click is observed and 0, a tenth is kept; all other rows
    are."""

    task: str
    """A binary task."""
    keep: Annotated[float, Field(gt=0.0, le=1.0)]
    """Probability with which a negative is kept."""
    seed: Seed = 0


class OverSamplingConfig(Settings):
    """`{task: purchase, factor: 2.5}`: a training row whose purchase is 1 is there two or three times,
    2.5 on average."""

    task: str
    """A binary task."""
    factor: Annotated[float, Field(ge=1.0, le=1000.0)]
    """Copies of a positive, on average."""
    seed: Seed = 0


def check_sampling(
    negative: NegativeSamplingConfig | None, over: OverSamplingConfig | None, tasks: Mapping[str, TaskConfig]
) -> None:
    """Raise `ConfigError` unless the sampled tasks are binary ones of `tasks`."""
    binary = [name for name, task in tasks.items() if isinstance(task, BinaryTaskConfig)]
    for key, config in (("negative_sampling", negative), ("over_sampling", over)):
        if config is None or config.task in binary:
            continue
        known = config.task in tasks
        guess = nearest(config.task, binary)
        raise ConfigError(
            f"{key} names a task that is {'not binary' if known else 'unknown'}.",
            where=f"training_set.{key}.task",
            found=f"{config.task} (type: {tasks[config.task].type})" if known else config.task,
            allowed=", ".join(binary) if binary else "nothing, as there is no binary task",
            fix=f"did you mean {guess}?" if guess else "name a binary task, or remove the key",
        )


def repeats(
    labels: Labels,
    row_id: np.ndarray,
    tasks: Sequence[str],
    negative: NegativeSamplingConfig | None = None,
    over: OverSamplingConfig | None = None,
) -> np.ndarray:
    """How often each training row is written, int32 `[rows]`: 0 leaves it out.

    A function of the row's labels, its `row_id` int64 `[rows]` and the seeds alone. `tasks` in the order of the label
    columns. The two samplings draw independently of each other and of the split.
    """
    times = np.ones(row_id.size, np.int32)
    if over is not None:
        whole = int(over.factor)
        more = uniform(row_id, stream_key("over_sampling", over.seed)) < over.factor - whole
        times = np.where(_labelled(labels, tasks, over.task, 1.0), whole + more.astype(np.int32), times)
    if negative is not None:
        dropped = uniform(row_id, stream_key("negative_sampling", negative.seed)) >= negative.keep
        times = np.where(_labelled(labels, tasks, negative.task, 0.0) & dropped, 0, times)
    return times.astype(np.int32)


def with_sampling(
    statistics: Mapping[str, LabelStatistics],
    negative: NegativeSamplingConfig | None = None,
    over: OverSamplingConfig | None = None,
) -> dict[str, LabelStatistics]:
    """`statistics` of the training part before sampling, with what the sampling did to each task's rows."""
    found = dict(statistics)
    if negative is not None:
        found[negative.task] = found[negative.task].model_copy(update={"negative_keep": negative.keep})
    if over is not None:
        found[over.task] = found[over.task].model_copy(update={"positive_repeat": over.factor})
    return found


def _labelled(labels: Labels, tasks: Sequence[str], task: str, value: float) -> np.ndarray:
    """Rows where the label of `task` is observed and equals `value`, bool `[rows]`."""
    column = list(tasks).index(task)
    rows: np.ndarray = labels.observed[:, column] & (labels.values[:, column] == value)
    return rows
