"""Gradients and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
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


def exchange_rows(tables: Sequence[nn.Parameter]) -> None:
    """Sparse gradients of this rank to their mean over ranks, coalesced: each rank sends the rows that its batch shows,
    once each. Collective; every rank gives the same tables. A table that no loss led to has no gradient on any rank."""
    for table in tables:
        if table.grad is None:
            continue
        rows_N = table.grad._indices()[0]
        # Half as long: they sort in half the time.
        rows_N = rows_N.int() if len(table) < 2**31 else rows_N
        rows_R, gradient_RD = summed_by_row(rows_N, table.grad._values())
        if distributed.world_size() > 1:
            gathered = distributed.gather_ragged(rows_R, gradient_RD.div_(distributed.world_size()))
            rows_R, gradient_RD = summed_by_row(*gathered)
        table.grad = torch.sparse_coo_tensor(
            rows_R[None].long(), gradient_RD, table.shape, is_coalesced=True, check_invariants=False
        )


def summed_by_row(rows_N: Tensor, gradient_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Each row once, ascending, `[R]`, and the sum of its gradients `[R, D]`, added up in their order."""
    # Sorted, then summed row by row: scattered additions are three times as slow, and on a GPU in no fixed order.
    sorted_N, place_N = torch.sort(rows_N, stable=True)
    rows_R, count_R = torch.unique_consecutive(sorted_N, return_counts=True)
    begin_R = torch.cumsum(count_R, dim=0) - count_R
    return rows_R, F.embedding_bag(place_N, gradient_ND, begin_R, mode="sum")
