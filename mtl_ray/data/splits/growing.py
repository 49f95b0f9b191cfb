"""An array that rows are added to."""

from __future__ import annotations

import numpy as np


class GrowingArray:
    """Values end to end, in up to 5/4 of their own memory: resized in place where the allocator can."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._values = np.empty(0, dtype)
        self.size = 0

    def add(self, values: np.ndarray) -> None:
        """Append `values`, `[n]`."""
        size = self.size + values.size
        if size > self._values.size:
            self._values.resize(size * 5 // 4, refcheck=False)
        self._values[self.size : size] = values
        self.size = size

    @property
    def values(self) -> np.ndarray:
        """All of them, `[size]`: a view, to be dropped before more are added."""
        return self._values[: self.size]
