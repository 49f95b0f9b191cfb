"""How much memory this machine, or this container, has and may lend."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_CGROUP_USED = Path("/sys/fs/cgroup/memory.current")


def default_budget() -> int:
    """Half of the memory that is free now, in bytes; inside a container, of what its limit leaves."""
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no control group, or one without a limit ("max")
        free = min(free, int(_CGROUP_LIMIT.read_text()) - int(_CGROUP_USED.read_text()))
    return max(int(free) // 2, 1)


def whole_memory() -> int:
    """Bytes of this machine's memory, or of what a container may have of it."""
    whole = psutil.virtual_memory().total
    with suppress(OSError, ValueError):
        whole = min(whole, int(_CGROUP_LIMIT.read_text()))
    return int(whole)


def shown_bytes(number: float) -> str:
    """`number` bytes for people, such as `512 MB`; the units are those in which settings are read, powers of 1000."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"
