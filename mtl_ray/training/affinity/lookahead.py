"""How far a step of the optimizer moves a parameter along one gradient, and parameters that are moved for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adagrad, Adam, AdamW, Optimizer, SparseAdam

from mtl_ray.optim.embeddings.rowwise_adagrad import RowwiseAdagrad
from mtl_ray.optim.mixed import parts_of


@torch.no_grad()
def step_scales(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> list[Tensor | float]:
    """What the coming `optimizer.step()` multiplies a gradient by, for each parameter.

    For the Adam family learning rate / (sqrt(second moment) + eps), the second moment being that which the coming step
    divides by: with `.grad` in it, and corrected for its start; for the Adagrad family the same with the sum of
    squares; for other optimizers the learning rate. Momentum and weight decay are no task's, and are left out.
    """
    owners = {
        id(parameter): (part, group)
        for part in parts_of(optimizer)
        for group in part.param_groups
        for parameter in group["params"]
    }
    return [_scale(*owners[id(parameter)], parameter) for parameter in parameters]


def _scale(optimizer: Optimizer, group: Mapping[str, Any], parameter: nn.Parameter) -> Tensor | float:
    rate = float(group["lr"])
    state = optimizer.state.get(parameter, {})
    if not isinstance(optimizer, Adam | AdamW | SparseAdam | Adagrad | RowwiseAdagrad):
        return rate
    if parameter.grad is None:  # the step leaves it where it is
        return 0.0
    square = (parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad).square()
    if isinstance(optimizer, RowwiseAdagrad):
        square = (square.mean(dim=1) + state["sum"])[:, None]
    elif isinstance(optimizer, Adagrad):
        square.add_(state["sum"])
    else:
        beta = float(group["betas"][1])
        square.mul_(1.0 - beta)
        if "exp_avg_sq" in state:
            square.add_(state["exp_avg_sq"], alpha=beta)
        square.div_(1.0 - beta ** (float(state.get("step", 0.0)) + 1.0))
    # No gradient so far: the step divides by eps what is 0 in any case.
    return square.sqrt_().add_(group["eps"]).reciprocal_().mul_(rate)


@contextmanager
def moved(parameters: Sequence[nn.Parameter], steps: Sequence[Tensor]) -> Iterator[None]:
    """Inside, each parameter is less by its step; afterwards the very tensor that it was.

    Another tensor takes the parameter's place, so that a graph that has read the old one can still be differentiated
    once the block is left.
    """
    before = [parameter.data for parameter in parameters]
    try:
        for parameter, old, step in zip(parameters, before, steps, strict=True):
            parameter.data = old - step
        yield
    finally:
        for parameter, old in zip(parameters, before, strict=True):
            parameter.data = old
