"""How far a join has come, in rows, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable

Say = Callable[[str], None]

SECONDS_BETWEEN = 5.0
"""Between two sentences of one stage: a join that is over sooner says nothing on the way."""


class RowProgress:
    """Tells every few seconds how many rows of how many are done.

    The time left is that of the rows that are left at the mean speed so far, all stages counted: partitioning a row
    costs about as much as joining one.
    """

    def __init__(self, total: int, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        """`total`: rows of all stages together."""
        self._total = total
        self._say = say
        self._clock = clock
        self._begun = self._told = clock()
        self._done = 0

    def add(self, rows: int, stage: str, stage_done: int, stage_total: int) -> None:
        """`rows` more are done; `stage` says what is being done, of which `stage_done` of `stage_total` rows are."""
        self._done += rows
        now = self._clock()
        if now - self._told < SECONDS_BETWEEN or not 0 < self._done < self._total:
            return
        self._told = now
        left = (now - self._begun) * (self._total - self._done) / self._done
        self._say(f"{stage}: {stage_done:,} of {stage_total:,} rows; about {_duration(left)} left for the whole join")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
