"""Simulated time: int64 microseconds since the Unix epoch (UTC), and days counted from the start of the simulation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

HISTORY_DAYS = 14
"""Days simulated before the spine begins: a shop has a past, and aggregates over an empty one teach nothing."""

_FIRST_SPINE_DAY = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Calendar:
    """Day 0 is the first simulated day; the spine covers days `HISTORY_DAYS` to `num_days - 1`."""

    num_days: int
    """History included."""

    @property
    def start(self) -> int:
        return self.spine_start - HISTORY_DAYS * DAY

    @property
    def spine_start(self) -> int:
        return int(_FIRST_SPINE_DAY.timestamp()) * SECOND

    @property
    def end(self) -> int:
        """The midnight that ends the last day."""
        return self.start + self.num_days * DAY

    def midnight(self, day: int) -> int:
        return self.start + day * DAY

    def day_of(self, timestamp: NDArray[np.int64]) -> NDArray[np.int64]:
        """The day in which each timestamp lies; an event at midnight belongs to the day that begins."""
        return (timestamp - self.start) // DAY
