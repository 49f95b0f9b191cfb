"""Rows of all ranks, through memory that they share and through the network, are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from mtl_ray import shared_memory
from mtl_ray.training.backward.ragged_gather import RaggedGather

LENGTHS = ((3, 5, 2), (0, 1, 4), (0, 0, 0), (4_000, 1, 9_000), (2, 2, 2))
"""Of each call, by rank: the fourth needs more memory than the ones before."""
Found = list[tuple[Tensor, ...]]


def own(call: int, rank: int) -> tuple[Tensor, ...]:
    """What a rank gives: three tensors of other widths and types."""
    random = torch.Generator().manual_seed(10 * call + rank)
    length = LENGTHS[call][rank]
    rows_N = torch.randint(0, 2**31 - 1, (length,), dtype=torch.int32, generator=random)
    numbers_ND = torch.randn(length, 3, generator=random)
    return rows_N, numbers_ND, torch.randn(length, 2, 2, dtype=torch.float64, generator=random)


def on_rank(rank: int, ranks: int, folder: str, refused: bool) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    if refused and rank == ranks - 1:
        # As in another container: the processes of the others are not to be seen.
        shared_memory._processes_are_seen_from = lambda: None
    gather = RaggedGather()
    found: Found = []
    for call in range(len(LENGTHS)):
        found.append(tuple(tensor.clone() for tensor in gather(*own(call, rank))))
        assert (gather._memory is None) == refused
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("refused", [False, True])
def test_every_rank_has_the_rows_of_all_in_their_order(ranks: int, refused: bool, tmp_path: Path) -> None:
    mp.spawn(on_rank, args=(ranks, str(tmp_path), refused), nprocs=ranks)
    for rank in range(ranks):
        found: Found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for call, tensors in enumerate(found):
            parts = zip(*(own(call, other) for other in range(ranks)), strict=True)
            for tensor, part in zip(tensors, parts, strict=True):
                assert torch.equal(tensor, torch.cat(part))


def test_one_process_keeps_its_own() -> None:
    tensors = own(0, 0)
    assert all(found is tensor for found, tensor in zip(RaggedGather()(*tensors), tensors, strict=True))
