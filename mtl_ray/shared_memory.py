"""Memory that all ranks see, where they are processes of one machine."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor


def shared_memory(size: int) -> Tensor | None:
    """`size` bytes, uint8 `[size]`, the same for all ranks; None, on all ranks alike, where some rank cannot have them:
    it runs on another machine or in another container, or the system is not Linux or forbids it. Collective, on CPUs.

    They are in no file: they are gone with the last process that holds them, however it ends. Where a system refuses
    (what a container may do, the rights of /proc, a limit of the address space), ranks are to talk as those of two
    machines do, so that this raises nothing.
    """
    made = _made(size) if dist.get_rank() == 0 else None
    offered = [(_processes_are_seen_from(), os.getpid(), made)]
    dist.broadcast_object_list(offered, src=0)
    where, process, handle = offered[0]
    mapped = None
    if where is not None and handle is not None and where == _processes_are_seen_from():
        mapped = _mapped(f"/proc/{process}/fd/{handle}", size)
    everywhere = torch.tensor(int(mapped is not None))
    dist.all_reduce(everywhere, op=dist.ReduceOp.MIN)
    if made is not None:
        os.close(made)
    return torch.frombuffer(mapped, dtype=torch.uint8) if mapped is not None and everywhere else None


def _processes_are_seen_from() -> tuple[str, str] | None:
    """The running kernel and the name space of process numbers: with both alike, a number is one and the same process.
    None where the system has no such thing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def _made(size: int) -> int | None:
    """Handle of new memory of `size` bytes; None where the system has none."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        made = os.memfd_create("mtl-ray")
    except OSError:
        return None
    try:
        os.truncate(made, size)
    except OSError:
        os.close(made)
        return None
    return made


def _mapped(path: str, size: int) -> mmap.mmap | None:
    """The memory behind the other process's handle; None where it is not for this one to see."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return mmap.mmap(handle, size)
    except OSError:
        return None
    finally:
        os.close(handle)
