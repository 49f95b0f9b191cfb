"""Gradients of embedding rows, and ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl_ray import distributed
from mtl_ray.training.backward.ragged_gather import RaggedGather


class RowExchange:
    """Brings sparse gradients of this rank to their mean over ranks, coalesced: each rank sends the rows that its batch
    shows, once each. A table that no loss led to has no gradient on any rank."""

    def __init__(self, tables: Sequence[nn.Parameter]) -> None:
        """`tables`: the same on every rank."""
        self._tables = tables
        self._gather = RaggedGather()

    def __call__(self) -> None:
        """Collective."""
        for table in self._tables:
            if table.grad is None:
                continue
            rows_N = table.grad._indices()[0]
            # Half as long: they sort in half the time.
            rows_N = rows_N.int() if len(table) < 2**31 else rows_N
            rows_R, gradient_RD = summed_by_row(rows_N, table.grad._values())
            if distributed.world_size() > 1:
                gathered = self._gather(rows_R, gradient_RD.div_(distributed.world_size()))
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
