"""What a step differentiates: the losses of the global batch, from one collective over the ranks' parts.

    total = all_reduce(packed(parts, added))           # one sum over ranks for everything
    total = without_losses(all_reduce(weights))        # or of the weights alone, before the model runs
    losses = combined(parts, added, total, world_size)
    (weighting(losses.local, losses.whole, losses.observed) + losses.auxiliary).backward()

Gradients of this rank are world_size times its part of the global batch's, as DistributedDataParallel averages them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mtl_ray.models.auxiliary import AuxiliaryLoss
from mtl_ray.tasks.losses import TaskLosses, normalise


class Losses(NamedTuple):
    """Of one global batch; T tasks and A auxiliary losses."""

    local: Tensor
    """This rank's task losses `[T]`, differentiable: their mean over ranks is `whole`."""
    each: tuple[Tensor, ...]
    """`local` one by one, each with a graph of its own down to what tasks share."""
    whole: Tensor
    """The global batch's task losses `[T]`, no gradient, equal on all ranks; 0 where nothing was observed. NaN after
    `without_losses`."""
    observed: Tensor
    """Whether any rank has observed the task, bool `[T]`."""
    auxiliary: Tensor
    """This rank's auxiliary losses `[A]`, differentiable: their mean over ranks is that of the global batch."""
    sums: Tensor
    """What this rank adds to sums of losses over batches and ranks, `[T + A]`, no gradient."""
    weights: Tensor
    """What these sums are divided by, `[T + A]`."""


def packed(tasks: TaskLosses, auxiliary: Sequence[AuxiliaryLoss]) -> Tensor:
    """This rank's sums and weights in one vector, no gradient, to be summed over ranks."""
    parts = [tasks.sums, tasks.weights]
    for part in auxiliary:
        parts += [part.sum.reshape(-1), part.weight.reshape(1)]
    return torch.cat([part.detach().to(tasks.sums.dtype) for part in parts])


def without_losses(weights_T: Tensor) -> Tensor:
    """`packed`, where the tasks' weights alone are known of all ranks: the losses are no numbers."""
    return torch.cat([torch.full_like(weights_T, torch.nan), weights_T])


def combined(tasks: TaskLosses, auxiliary: Sequence[AuxiliaryLoss], total: Tensor, world_size: int) -> Losses:
    """The losses, from this rank's parts and the sum of `packed` over all ranks."""
    sizes = [size for part in auxiliary for size in (part.sum.numel(), 1)]
    sums_T, weights_T, *rest = torch.split(total, [len(tasks.sums), len(tasks.sums), *sizes])
    local, sums, weights = [], [tasks.sums.detach()], [tasks.weights]
    for part, sum_K, weight in zip(auxiliary, rest[::2], rest[1::2], strict=True):
        part_K = normalise(part.sum.to(total.dtype).reshape(-1), weight, world_size)
        local_weight = part.weight.detach().to(total.dtype).reshape(1)
        if part.of_mean is None:
            local.append(part_K)
            sums.append(part.sum.detach().to(total.dtype).reshape(1))
        else:
            value, slope_K = _with_slope(part, normalise(sum_K, weight, 1))
            value = torch.where(weight > 0, value, 0.0)
            along = torch.dot(slope_K, part_K)
            # The value of the loss with the gradient of this rank's rows, by the chain rule.
            local.append(value + (along - along.detach()))
            sums.append(value * local_weight)
        weights.append(local_weight)
    factor_T = normalise(torch.ones_like(weights_T), weights_T, world_size)
    return Losses(
        local=normalise(tasks.sums, weights_T, world_size),
        each=tuple(own * factor for own, factor in zip(tasks.each, factor_T.unbind(), strict=True)),
        whole=normalise(sums_T, weights_T, 1),
        observed=weights_T > 0,
        auxiliary=torch.cat(local) if local else total.new_zeros(0),
        sums=torch.cat(sums),
        weights=torch.cat(weights),
    )


def _with_slope(part: AuxiliaryLoss, mean_K: Tensor) -> tuple[Tensor, Tensor]:
    """A loss `[1]` at the global mean, and its gradient `[K]` there."""
    assert part.of_mean is not None
    mean_K = mean_K.detach().requires_grad_()
    value = part.of_mean(mean_K)
    (slope_K,) = torch.autograd.grad(value, mean_K)
    return value.detach().reshape(1), slope_K
