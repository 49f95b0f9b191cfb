"""The few collectives that training needs, correct with one process and with many."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as differentiable
from torch import Tensor

T = TypeVar("T")


def world_size() -> int:
    """Number of ranks; 1 where no process group was started."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's rank; 0 where no process group was started."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks_a_machine(device: torch.device) -> int:
    """Ranks of the machine that has the fewest, as whoever started them says; all where nobody does.

    Collective; `device`: of the backend.
    """
    own = torch.tensor(int(os.environ.get("LOCAL_WORLD_SIZE", world_size())), device=device)
    if world_size() > 1:
        dist.all_reduce(own, op=dist.ReduceOp.MIN)
    return int(own)


def start_sum(tensor: Tensor) -> Callable[[], Tensor]:
    """Begin summing `tensor` over all ranks in place; call the result to wait for the sum.

    Collective: every rank must call it, in the same order. The work overlaps with what the caller does before waiting.
    """
    if world_size() == 1:
        return lambda: tensor
    work = dist.all_reduce(tensor, async_op=True)

    def wait() -> Tensor:
        work.wait()
        return tensor

    return wait


def differentiable_sum(tensor: Tensor) -> Tensor:
    """`tensor` summed over all ranks, with a gradient: that of a rank's tensor is the sum over the ranks of the
    gradients of their results. Collective, and so is its backward."""
    if world_size() == 1:
        return tensor
    total: Tensor = differentiable.all_reduce(tensor)  # type: ignore[no-untyped-call]
    return total


def differentiable_gather(tensor: Tensor) -> Tensor:
    """Every rank's `tensor` `[B, ...]` in rank order, `[world size * B, ...]`, with a gradient: that of a rank's tensor
    is the sum over the ranks of the gradients of its rows there. Collective, and so is its backward; the shapes of all
    ranks must be the same."""
    if world_size() == 1:
        return tensor
    if torch.is_grad_enabled():
        return torch.cat(differentiable.all_gather(tensor))  # type: ignore[no-untyped-call]
    parts = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def gather_ragged(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Every rank's `tensors`, `[N, ...]` each with one N a rank, in rank order, `[sum of N, ...]`. Collective; no
    gradient."""
    if world_size() == 1:
        return tensors
    length = torch.tensor([len(tensors[0])], device=tensors[0].device)
    lengths = [torch.empty_like(length) for _ in range(world_size())]
    dist.all_gather(lengths, length)
    sizes = [int(own) for own in torch.cat(lengths).tolist()]
    if tensors[0].is_cuda:
        return tuple(_padded_and_gathered(tensor, sizes) for tensor in tensors)
    return _broadcast_in_turn(tensors, sizes)


def _broadcast_in_turn(tensors: Sequence[Tensor], sizes: list[int]) -> tuple[Tensor, ...]:
    # Gloo's all_gather copies all that it has received once more, and takes half as long again.
    wholes = tuple(tensor.new_empty(sum(sizes), *tensor.shape[1:]) for tensor in tensors)
    at_work = []
    for tensor, whole in zip(tensors, wholes, strict=True):
        for source, part in enumerate(torch.split(whole, sizes)):
            if source == rank():
                part.copy_(tensor)
            if len(part):
                at_work.append(dist.broadcast(part, source, async_op=True))
    for work in at_work:
        work.wait()
    return wholes


def _padded_and_gathered(tensor: Tensor, sizes: list[int]) -> Tensor:
    # NCCL wants the same shape of all ranks.
    padded = tensor.new_zeros(max(sizes), *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def gather(value: T) -> list[T]:
    """Every rank's `value`, in rank order, on every rank. Collective; values travel by pickle."""
    if world_size() == 1:
        return [value]
    values: list[T | None] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]
