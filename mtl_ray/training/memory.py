"""The C library's memory, as a training wants it."""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of malloc.h."""
KEPT = 2**31 - 1
LARGEST = 32 * 2**20
"""More is refused for `M_MMAP_THRESHOLD`."""


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
    return bool(mallopt(MMAP_THRESHOLD, LARGEST)) and bool(mallopt(TRIM_THRESHOLD, KEPT))
