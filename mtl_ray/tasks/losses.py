"""Per-task losses that are the same whatever the number of ranks.

A task's loss is the mean of its row losses over the observed rows (of `next_item`: the queries) of the *global* batch,
weighted by the row's sample_weight times the task's own one.
The mean of per-rank means is something else when labels are sparse (a rank with one label would weigh as much as
one with a thousand), and is undefined on a rank without any. Hence two steps around one collective:

    sums, weights, _ = task_losses(logits, batch, tasks)           # this rank's rows
    global_weights = weights.clone(); all_reduce(global_weights)   # sum over ranks, [T]; the caller's
    losses = normalise(sums, global_weights, world_size)  # [T], to be weighted and differentiated

The loss of a rank is world_size times its part of the global mean, as DistributedDataParallel averages gradients
over ranks: the averaged gradient is that of the global mean.

Imbalance. Where training rows were sampled by one task's label, every other task weighs a row by 1 / its expected
number of copies (Horvitz and Thompson 1952), which makes its weighted mean that of the rows before sampling; the
sampled task itself learns from the rows as they are and corrects its logits (see `mtl_ray.tasks.binary`). Class weights
multiply the losses but not the number that they are divided by: their mean is 1 over the training part, not in every
batch, and dividing by a batch's own mean would take weight from positives wherever several meet. Validation rows are
never sampled nor weighed, and their losses are those of corrected logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mtl_ray.batch import Batch
from mtl_ray.tasks.task import Task


class TaskLosses(NamedTuple):
    """One rank's part of the tasks' losses, in task order."""

    sums: Tensor
    """row weight * loss summed over observed rows, `[T]`, differentiable."""
    weights: Tensor
    """Row weights summed over observed rows, class weights left out, `[T]`, in the dtype of `sums`, no gradient."""
    each: tuple[Tensor, ...]
    """`sums` one by one: a backward pass from one of them does not run through the other tasks' towers."""


def training_weights(batch: Batch, tasks: Mapping[str, Task]) -> tuple[Tensor, ...]:
    """What each training row weighs in each task's mean, `[B]` by task: its sample weights, corrected for sampling; 0
    where not observed. They depend on the batch alone: their sums are known before the model runs."""
    copies = _copies(batch, tasks)
    found = []
    for column, (name, task) in enumerate(tasks.items()):
        weight_B = _row_weight(batch, column, task)
        for other, copies_B in copies.items():
            if other != name:
                weight_B = weight_B / copies_B
        found.append(weight_B)
    return tuple(found)


def task_losses(logits: Mapping[str, Tensor], batch: Batch, tasks: Mapping[str, Task]) -> TaskLosses:
    """Sums over the training rows of this rank. `tasks` in the order of the label columns; logits `[B, C_t]` by task.

    A row weighs its `training_weights` times its class weight. Rows that are not observed (padding included) add
    exactly nothing, to the gradients neither. The loss of a `next_item` task is a collective.
    """
    row_weights = training_weights(batch, tasks)
    sums, weights = [], []
    for column, (name, task) in enumerate(tasks.items()):
        label_B = _label(batch, column)
        loss_B = task.loss(logits[name], label_B, batch.task_inputs)
        weight_B = row_weights[column].to(loss_B.dtype)
        class_weight_B = task.class_weight(label_B)
        loss_weight_B = weight_B if class_weight_B is None else weight_B * class_weight_B
        sums.append(torch.dot(loss_B, loss_weight_B))
        weights.append(weight_B.sum())
    return TaskLosses(torch.stack(sums), torch.stack(weights), tuple(sums))


def validation_losses(logits: Mapping[str, Tensor], batch: Batch, tasks: Mapping[str, Task]) -> TaskLosses:
    """As `task_losses`, for rows that are not trained on: sample weights alone, and the logits that predict."""
    sums, weights = [], []
    for column, (name, task) in enumerate(tasks.items()):
        loss_B = task.held_out_loss(logits[name], _label(batch, column), batch.task_inputs)
        weight_B = _row_weight(batch, column, task).to(loss_B.dtype)
        sums.append(torch.dot(loss_B, weight_B))
        weights.append(weight_B.sum())
    return TaskLosses(torch.stack(sums), torch.stack(weights), tuple(sums))


def _label(batch: Batch, column: int) -> Tensor:
    """0 where not observed: padding rows repeat another row's labels."""
    return torch.where(batch.observed[:, column], batch.labels[:, column], 0.0)


def _row_weight(batch: Batch, column: int, task: Task) -> Tensor:
    """0 in rows that do not count."""
    own_B = task.row_weight(batch.task_inputs)
    weight_B = batch.sample_weight if own_B is None else batch.sample_weight * own_B
    counted_B = task.counted(_label(batch, column))
    observed_B = batch.observed[:, column] if counted_B is None else batch.observed[:, column] & counted_B
    return torch.where(observed_B, weight_B, 0.0)


def _copies(batch: Batch, tasks: Mapping[str, Task]) -> dict[str, Tensor]:
    """Task that was sampled by -> expected copies of each row `[B]`."""
    found = {}
    for column, (name, task) in enumerate(tasks.items()):
        copies_B = task.copies(batch.labels[:, column], batch.observed[:, column])
        if copies_B is not None:
            found[name] = copies_B
    return found


def normalise(sums: Tensor, global_weights: Tensor, world_size: int) -> Tensor:
    """Losses `[T]` of this rank: sum * world_size / global weight, and 0 with zero gradients where no rank has
    observed anything.

    Their mean over ranks is the loss of the global batch.
    """
    some = global_weights > 0
    factor = torch.where(some, world_size / torch.where(some, global_weights, 1.0), 0.0)
    return sums * factor
