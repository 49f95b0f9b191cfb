"""Values that no row has shown for long lose their id, and with it their embedding row, to values that are new.

Time is in microseconds since 1970, as `event_timestamp` counts it.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa

NEVER = np.iinfo(np.int64).min
"""Last sight of what no row shows."""


def microseconds(age: timedelta) -> int:
    """Exactly."""
    return age // timedelta(microseconds=1)


def times_of(column: pa.ChunkedArray) -> pa.Array:
    """int64 `[n]` of an `event_timestamp` column."""
    times = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return times.combine_chunks() if isinstance(times, pa.ChunkedArray) else times


def places(kept: np.ndarray, added: int) -> np.ndarray:
    """Who has which place in a vocabulary afterwards, int64 `[values]`: n for value number n of before, and from
    `len(kept)` on the added ones.

    Freed places go to added values, in order, which else follow at the end. Where more are freed than added, the last
    values move into them, so that none stays empty. All others keep theirs.

    Args:
        kept: bool `[values before]`.
    """
    before, free = len(kept), np.flatnonzero(~kept)
    reused = min(len(free), added)
    taken = np.concatenate([np.arange(before), before + np.arange(reused, added)])
    taken[free[:reused]] = before + np.arange(reused)
    empty = free[reused:]
    size = len(taken) - len(empty)
    moving = np.setdiff1d(np.arange(size, len(taken)), empty)
    taken[empty[empty < size]] = taken[moving]
    return taken[:size]
