"""Tensors of as many rows as each rank likes, gathered on all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod

import torch
import torch.distributed as dist
from torch import Tensor

from mtl_ray.distributed import rank, world_size
from mtl_ray.shared_memory import shared_memory

ROOM = 1.25
"""Of what was asked for: batches differ in their distinct rows."""
ALIGNED = 64
"""Bytes: what a vector instruction reads at once."""


class RaggedGather:
    """Every rank's tensors, `[N, ...]` each with one N a rank, in rank order, `[sum of N, ...]`.

    Collective; no gradient. What a call gives is there until the next one, and is not to be written to: ranks of one
    machine write their rows where all of them read. Others send them.
    """

    def __init__(self) -> None:
        self._memory: Tensor | None = torch.empty(0, dtype=torch.uint8)
        """None: there is none that all ranks see."""

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        if world_size() == 1:
            return tensors
        length = torch.tensor([len(tensors[0])], device=tensors[0].device)
        lengths = [torch.empty_like(length) for _ in range(world_size())]
        dist.all_gather(lengths, length)
        sizes = [int(own) for own in torch.cat(lengths).tolist()]
        if tensors[0].is_cuda:
            return tuple(_padded_and_gathered(tensor, sizes) for tensor in tensors)
        wholes = self._places(tensors, sum(sizes))
        if wholes is None:
            return _broadcast_in_turn(tensors, sizes)
        # All ranks have given their lengths: none still reads what was here before.
        for tensor, whole in zip(tensors, wholes, strict=True):
            torch.split(whole, sizes)[rank()].copy_(tensor)
        dist.barrier()
        return wholes

    def _places(self, tensors: Sequence[Tensor], rows: int) -> tuple[Tensor, ...] | None:
        """For `rows` rows of each tensor, in the memory that all ranks see; None where there is none. Collective."""
        sizes = [rows * prod(tensor.shape[1:]) * tensor.element_size() for tensor in tensors]
        begins = [0]
        for size in sizes:
            begins.append(begins[-1] + ceil(size / ALIGNED) * ALIGNED)
        if self._memory is not None and len(self._memory) < begins[-1]:
            self._memory = shared_memory(int(ROOM * begins[-1]))
        if self._memory is None:
            return None
        return tuple(
            self._memory[begin : begin + size].view(tensor.dtype).view(rows, *tensor.shape[1:])
            for begin, size, tensor in zip(begins, sizes, tensors, strict=False)
        )


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
