"""Gradients and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mtl_ray import distributed
from mtl_ray.models import MultiTaskModel


def averaging(model: nn.Module, now: bool) -> AbstractContextManager[object]:
    """Inside, a backward pass averages gradients over ranks (`now`), or leaves them to add up until a later one."""
    if isinstance(model, DistributedDataParallel) and not now:
        return model.no_sync()
    return nullcontext()


def average(parameters: Sequence[nn.Parameter]) -> None:
    """Gradients of this rank to their mean over ranks, in one all-reduce a dtype. Collective; every rank gives the same
    parameters, all of which have a gradient."""
    if distributed.world_size() == 1:
        return
    for dtype in dict.fromkeys(parameter.dtype for parameter in parameters):
        own = [parameter for parameter in parameters if parameter.dtype == dtype]
        flat = torch.cat([parameter.grad.flatten() for parameter in own if parameter.grad is not None])
        mean = distributed.start_sum(flat / distributed.world_size())()
        parts = torch.split(mean, [parameter.numel() for parameter in own])
        for parameter, part in zip(own, parts, strict=True):
            parameter.grad = part.view_as(parameter)


def sparse_tables(model: MultiTaskModel) -> list[nn.Parameter]:
    """The embedding tables whose gradients are of the rows that a batch shows."""
    weights = [table.weight for table in model.embedding_tables() if table.sparse]
    return [weight for weight in weights if isinstance(weight, nn.Parameter) and weight.requires_grad]
