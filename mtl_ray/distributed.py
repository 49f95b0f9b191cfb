"""The few collectives that training needs, correct with one process and with many."""

from __future__ import annotations

import os
from collections.abc import Callable
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


def gather(value: T) -> list[T]:
    """Every rank's `value`, in rank order, on every rank. Collective; values travel by pickle."""
    if world_size() == 1:
        return [value]
    values: list[T | None] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]
