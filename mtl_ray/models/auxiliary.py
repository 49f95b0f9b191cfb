"""Losses that an architecture adds to those of the tasks: penalties on parameters, regularisers over rows.

A model's `auxiliary_losses(batch, logits)` gives one rank's part of each, by name; the step adds

    of_mean(sum over ranks of `sum` / sum over ranks of `weight`)

to the total, so that one and many workers agree, as the tasks' losses do (`mtl_ray.tasks.losses`). The loss weighting
does not see them: their coefficient is in `sum` or `of_mean`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mtl_ray.batch import Batch
from mtl_ray.tasks import Task


class AuxiliaryLoss(NamedTuple):
    """One rank's part of one auxiliary loss."""

    sum: Tensor
    """Coefficient times the loss, summed over this rank's rows: a scalar, differentiable. With `of_mean`: what it is a
    function of the mean of, `[K]`."""
    weight: Tensor
    """What the sum over all ranks is divided by: a scalar, no gradient."""
    of_mean: Callable[[Tensor], Tensor] | None = None
    """For a loss that no sum over rows is: the loss, a scalar, from the mean `[K]` over the rows of all ranks."""


def penalty(value: Tensor) -> AuxiliaryLoss:
    """A loss that depends on parameters alone, and so is the same on every rank."""
    return AuxiliaryLoss(value, torch.ones_like(value, requires_grad=False))


def population_weight(batch: Batch, tasks: Mapping[str, Task]) -> Tensor:
    """Weight of each row in a mean over all rows as they were before any sampling, `[B]`; 0 for padding.

    `tasks` in the order of the label columns. Sampling is undone as in `mtl_ray.tasks.losses`.
    """
    weight_B = torch.where(batch.row_id >= 0, batch.sample_weight, 0.0)
    for column, task in enumerate(tasks.values()):
        copies_B = task.copies(batch.labels[:, column], batch.observed[:, column])
        if copies_B is not None:
            weight_B = weight_B / copies_B
    return weight_B
