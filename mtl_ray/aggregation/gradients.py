"""The tasks' gradients of one step, as aggregations read them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from mtl_ray import distributed

_PIECE = {"cpu": 2**17, "cuda": 2**24}
"""Numbers of each task's gradient that are multiplied at once: what stays in a CPU's cache, or fills a GPU."""


class TaskGradients:
    """Gradients of T weighted losses at K blocks: tensors that the tasks share, or shared parameters.

    At shared tensors, `rows` are those of this rank, and the rows of all ranks are those of one global batch; at shared
    parameters there is one row, already summed over ranks. Either way what the properties give is of the global batch
    and equal on all ranks; each is one collective, the first time that it is read. No gradient is copied.
    """

    def __init__(
        self,
        parts: Sequence[Sequence[Sequence[Tensor]]],
        num_blocks: int,
        weights_T: Tensor,
        tasks: Sequence[int],
        split_over_ranks: bool,
        scale: float = 1.0,
    ) -> None:
        """
        Args:
            parts: for each part of this rank's rows, task and block the gradient of the unweighted loss,
                `[rows, ...]` in a floating dtype.
            num_blocks: K, which `parts` does not tell where no task is compared.
            weights_T: what the losses are multiplied by, float64.
            tasks: position of each of the T tasks among all of them.
            split_over_ranks: whether every rank has rows of its own.
            scale: what `parts` are to be multiplied by.
        """
        self.num_blocks = num_blocks
        self.weights_T = weights_T
        self.tasks = tuple(tasks)
        self._parts = parts
        self._split = split_over_ranks
        self._scale = scale

    @property
    def gramian_is_known(self) -> bool:
        """Whether inner products have been read: they cost a pass over the gradients, and a collective."""
        return "unweighted_gramians" in self.__dict__

    @cached_property
    def unweighted_gramians(self) -> Tensor:
        """Inner products of the gradients of the unweighted losses in each block, float64 `[K, T, T]` on the CPU."""
        size = len(self.tasks)
        products = self.weights_T.new_zeros(self.num_blocks, size, size)
        for rows in self._parts if size else ():
            for at in range(self.num_blocks):
                products[at] += _gramian([blocks[at] for blocks in rows])
        return (self._summed(products) * self._scale**2).cpu()

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
        """Gradients in each block summed over the rows, `[T, C_k]`, C_k all that is not rows; float64 where gradients
        are, else float32."""
        scale_T = self._scale * self.weights_T[:, None]
        sums = []
        for at in range(self.num_blocks if self.tasks else 0):
            total_TC = sum(_columns([blocks[at] for blocks in rows]) for rows in self._parts)
            assert isinstance(total_TC, Tensor)
            sums.append(total_TC * scale_T.to(total_TC.device, total_TC.dtype))
        if not self._split or not sums:
            return tuple(sums)
        flat = self._summed(torch.cat([part.flatten() for part in sums]))
        split = torch.split(flat, [part.numel() for part in sums])
        return tuple(part.view_as(like) for part, like in zip(split, sums, strict=True))

    def not_finite(self, by_columns: bool) -> int | None:
        """Position of a task whose gradient is not finite, the same on all ranks; None where there is none.

        Args:
            by_columns: look at the sums over rows, which one number that is not finite makes so too, rather than at
                the inner products.
        """
        if by_columns:
            size_KT = torch.stack([torch.linalg.vector_norm(column_TC, ord=1, dim=1) for column_TC in self.columns])
            finite = size_KT.sum(dim=0).isfinite().tolist()
        else:
            finite = self.norms.isfinite().tolist()
        return next((task for task, own in zip(self.tasks, finite, strict=True) if not own), None)

    def _summed(self, part: Tensor) -> Tensor:
        return distributed.start_sum(part)() if self._split else part


def combined(gradients: Sequence[Tensor], factor: Tensor, weights_T: Tensor) -> Tensor:
    """The sum over tasks of factor * weight * gradient at one block, in the gradients' shape `[rows, ...]`.

    Args:
        gradients: of at least one unweighted loss.
        factor: `[T]`, or `[T, C]` for all that is not rows.
        weights_T: what the losses are multiplied by.
    """
    weights_T = weights_T.to(factor.device)
    first = gradients[0]
    if factor.ndim == 1:
        scales = (factor * weights_T).tolist()
        total = first * scales[0]
        for gradient, scale in zip(gradients[1:], scales[1:], strict=True):
            total.add_(gradient, alpha=scale)
        return total
    scales_TC = factor.to(first.device, first.dtype) * weights_T[:, None].to(first.device, first.dtype)
    total = first * scales_TC[0].view_as(first[0])
    for gradient, scale_C in zip(gradients[1:], scales_TC[1:], strict=True):
        total.addcmul_(gradient, scale_C.view_as(first[0]))
    return total


def _columns(gradients: Sequence[Tensor]) -> Tensor:
    """Sums over rows of `[rows, ...]`, `[T, C]`."""
    if len(gradients[0]) == 1:
        return torch.stack([gradient.flatten() for gradient in gradients]).to(_exact(gradients[0]))
    return torch.stack([gradient.sum(dim=0, dtype=_exact(gradient)).flatten() for gradient in gradients])


def _exact(gradient: Tensor) -> torch.dtype:
    return torch.float64 if gradient.dtype == torch.float64 else torch.float32


def _gramian(gradients: Sequence[Tensor]) -> Tensor:
    """Inner products, float64 `[T, T]`; products of float32 within a piece, sums of pieces in float64."""
    first = gradients[0]
    size = _PIECE.get(first.device.type, _PIECE["cuda"])
    pairs = torch.tril_indices(len(gradients), len(gradients), device=first.device)
    found = []
    for pieces in zip(*(torch.split(gradient.reshape(-1), size) for gradient in gradients), strict=True):
        exact = [piece.to(_exact(first)) for piece in pieces]
        found += [torch.dot(exact[one], exact[other]) for one, other in zip(*pairs.tolist(), strict=True)]
    products = torch.stack(found).view(-1, pairs.shape[1]).sum(dim=0, dtype=torch.float64)
    total = products.new_zeros(len(gradients), len(gradients))
    total[pairs[0], pairs[1]] = products
    total[pairs[1], pairs[0]] = products
    return total
