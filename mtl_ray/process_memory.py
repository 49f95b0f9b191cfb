"""The C library's memory, as a process wants it that does the same again and again."""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""`M_TRIM_THRESHOLD`, `M_TOP_PAD` and `M_MMAP_THRESHOLD` of malloc.h."""
KEPT = 2**31 - 1
LARGEST = 32 * 2**20
"""More is refused for `M_MMAP_THRESHOLD`."""
HEAP = 64 * 2**20
"""A thread that is not the main one, as that which Ray Train trains in, has its memory in heaps of so many bytes. An
empty one goes back whatever the thresholds are, unless as much is to be kept beyond what is asked for (heap_trim)."""


def keep_freed_memory() -> bool:
    """Have this process keep what it frees instead of giving it back to the system, and tell whether that is so: it is
    with glibc, and with no other C library.

    Every step allocates and frees the same activations and gradients, of megabytes each. By default glibc gives them
    back, and each page is cleared anew when it is touched in the next step: a tenth of a step on a CPU. The process
    holds on to the most that it ever had in use.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(MMAP_THRESHOLD, LARGEST), mallopt(TRIM_THRESHOLD, KEPT), mallopt(TOP_PAD, HEAP)])
