"""Memory of all ranks: what one writes the others read, and who gives it up holds nothing of it."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mtl_ray.shared_memory import shared_memory

SIZE = 1 << 20
NAME = "memfd:mtl-ray"


def on_rank(rank: int, ranks: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    memory = shared_memory(SIZE)
    assert memory is not None
    assert memory.shape == (SIZE,)
    assert memory.dtype == torch.uint8
    memory[rank] = rank + 1
    dist.barrier()
    assert memory[: ranks + 1].tolist() == [*range(1, ranks + 1), 0]
    assert held() == (1, 1)
    dist.barrier()
    del memory
    assert held() == (0, 0)
    dist.destroy_process_group()


def held() -> tuple[int, int]:
    """How often the memory is in this process's address space, and among its open files."""
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if NAME in line]
    opened = [file for file in Path("/proc/self/fd").iterdir() if file.is_symlink() and NAME in str(file.readlink())]
    return len(mapped), len(opened)


def test_ranks_see_the_same_bytes_and_leave_nothing(tmp_path: Path) -> None:
    mp.spawn(on_rank, args=(3, str(tmp_path)), nprocs=3)
