"""What a rank's steps took, and what of it was waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Rows over all ranks, seconds since the first of them were there, and the share of all its time in which this rank
    waited for rows."""

    def __init__(self) -> None:
        self.rows = 0
        self._made = time.monotonic()
        self._begin: float | None = None
        self._waited = 0.0

    def start(self) -> None:
        """Begin to count; later calls do nothing."""
        if self._begin is None:
            self._begin = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since `start`."""
        begin = time.monotonic() if self._begin is None else self._begin
        return max(time.monotonic() - begin, 1e-9)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the block as waiting."""
        begin = time.monotonic()
        yield
        self._waited += time.monotonic() - begin

    @property
    def waited_share(self) -> float:
        """Of the time since the clock was made."""
        return self._waited / max(time.monotonic() - self._made, 1e-9)
