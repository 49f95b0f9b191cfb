"""Per-task losses that are the same whatever the number of ranks.

A task's loss is the mean of its row losses over the observed rows of the *global* batch, weighted by sample_weight.
The mean of per-rank means is something else when labels are sparse (a rank with one label would weigh as much as
one with a thousand), and is undefined on a rank without any. Hence two steps around one collective:

    sums, weights = task_losses(logits, batch, tasks)              # this rank's rows
    global_weights = weights.clone(); all_reduce(global_weights)   # sum over ranks, [T]; the caller's
    losses = normalise(sums, global_weights, world_size)  # [T], to be weighted and differentiated

The loss of a rank is world_size times its part of the global mean, as DistributedDataParallel averages gradients
over ranks: the averaged gradient is that of the global mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mtl_ray.batch import Batch
from mtl_ray.tasks import Task


class TaskLosses(NamedTuple):
    """One rank's part of the tasks' losses, in task order."""

    sums: Tensor
    """sample_weight * loss summed over observed rows, `[T]`, differentiable."""
    weights: Tensor
    """sample_weight summed over observed rows, `[T]`, in the dtype of `sums`, no gradient."""


def task_losses(logits: Mapping[str, Tensor], batch: Batch, tasks: Mapping[str, Task]) -> TaskLosses:
    """Sums over the rows of this rank. `tasks` in the order of the label columns; logits `[B, C_t]` by task.

    Rows that are not observed (padding included) add exactly nothing, to the gradients neither.
    """
    sums, weights = [], []
    for column, (name, task) in enumerate(tasks.items()):
        loss_B = task.loss(logits[name], batch.labels[:, column])
        weight_B = torch.where(batch.observed[:, column], batch.sample_weight, 0.0).to(loss_B.dtype)
        sums.append(torch.dot(loss_B, weight_B))
        weights.append(weight_B.sum())
    return TaskLosses(torch.stack(sums), torch.stack(weights))


def normalise(sums: Tensor, global_weights: Tensor, world_size: int) -> Tensor:
    """Losses `[T]` of this rank: sum * world_size / global weight, and 0 with zero gradients where no rank has
    observed anything.

    Their mean over ranks is the loss of the global batch.
    """
    some = global_weights > 0
    factor = torch.where(some, world_size / torch.where(some, global_weights, 1.0), 0.0)
    return sums * factor
