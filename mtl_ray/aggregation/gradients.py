"""The tasks' gradients of one step, as aggregations read them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from mtl_ray import distributed


class TaskGradients:
    """Gradients of T weighted losses at K blocks: tensors that the tasks share, or shared parameters.

    At shared tensors, `rows` are those of this rank, and the rows of all ranks are those of one global batch; at shared
    parameters there is one row, already summed over ranks. Either way what the properties give is of the global batch
    and equal on all ranks; each is one collective, the first time that it is read.
    """

    def __init__(
        self, blocks: Sequence[Tensor], weights_T: Tensor, tasks: Sequence[int], split_over_ranks: bool
    ) -> None:
        """
        Args:
            blocks: gradients of the unweighted losses, `[T, rows, C_k]` each, in a floating dtype.
            weights_T: what the losses are multiplied by, float64.
            tasks: position of each of the T tasks among all of them.
            split_over_ranks: whether every rank has rows of its own.
        """
        self.blocks = tuple(blocks)
        self.weights_T = weights_T
        self.tasks = tuple(tasks)
        self._split = split_over_ranks

    @cached_property
    def unweighted_gramians(self) -> Tensor:
        """Inner products of the gradients of the unweighted losses in each block, float64 `[K, T, T]` on the CPU."""
        return self._summed(torch.stack([_gramian(block) for block in self.blocks])).cpu()

    @property
    def gramians(self) -> Tensor:
        """Inner products of the gradients in each block, float64 `[K, T, T]` on the CPU."""
        weights_T = self.weights_T.cpu()
        return self.unweighted_gramians * torch.outer(weights_T, weights_T)

    @property
    def gramian(self) -> Tensor:
        """Inner products over all blocks, float64 `[T, T]` on the CPU."""
        return self.gramians.sum(dim=0)

    @property
    def norms(self) -> Tensor:
        """Lengths of the gradients of the unweighted losses, float64 `[T]` on the CPU."""
        return self.unweighted_gramians.sum(dim=0).diagonal().clamp(min=0.0).sqrt()

    @cached_property
    def columns(self) -> tuple[Tensor, ...]:
        """Gradients in each block summed over the rows, float64 `[T, C_k]`."""
        sums = [block.double().sum(dim=1) * self.weights_T[:, None] for block in self.blocks]
        flat = self._summed(torch.cat([part.flatten() for part in sums]))
        parts = torch.split(flat, [part.numel() for part in sums])
        return tuple(part.view_as(like) for part, like in zip(parts, sums, strict=True))

    def combined(self, factors: Sequence[Tensor]) -> list[Tensor]:
        """Per block the sum over tasks of factor * gradient, `[rows, C_k]`; factors `[T]` or `[T, C_k]`."""
        return [self._combined(block, factor) for block, factor in zip(self.blocks, factors, strict=True)]

    def _combined(self, block: Tensor, factor: Tensor) -> Tensor:
        weights_T = self.weights_T.to(factor.device)
        weighted = factor * (weights_T if factor.ndim == 1 else weights_T[:, None])
        weighted = weighted.to(block.device, block.dtype)
        return torch.einsum("t,trc->rc" if factor.ndim == 1 else "tc,trc->rc", weighted, block)

    def _summed(self, part: Tensor) -> Tensor:
        return distributed.start_sum(part)() if self._split else part


def _gramian(block: Tensor) -> Tensor:
    flat = block.flatten(1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    return (flat @ flat.T).double()
