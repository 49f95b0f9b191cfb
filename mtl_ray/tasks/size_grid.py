"""A fixed grid of sizes (durations, exposures), so that labels can be counted by size in one pass.

Its cells are those of every training set alike, whatever the data: counts of buckets add up.
"""

from __future__ import annotations

import numpy as np

CELLS_AN_OCTAVE = 64
_LOWEST, _HIGHEST = -126, 127
_EDGES = np.exp2(np.arange(_LOWEST * CELLS_AN_OCTAVE, _HIGHEST * CELLS_AN_OCTAVE + 1) / CELLS_AN_OCTAVE)

EDGES: np.ndarray = _EDGES.astype(np.float32)
"""Cell c has the sizes from `EDGES[c - 1]`, included, to `EDGES[c]`, excluded: 1.1 % wide; 0 and less are in cell 0."""

MISSING_CELL = -1


def cells(sizes: np.ndarray) -> np.ndarray:
    """Cell of each size, int16 `[rows]`; MISSING_CELL where it is NaN."""
    values = np.asarray(sizes, dtype=np.float32)
    found = np.searchsorted(EDGES, values, side="right")
    return np.where(np.isnan(values), MISSING_CELL, found).astype(np.int16)


def middle(cell: np.ndarray) -> np.ndarray:
    """A size in each cell but MISSING_CELL, float64 `[n]`, off by at most 0.6 % of any other in it."""
    upper = _EDGES[np.clip(cell, 0, len(_EDGES) - 1)]
    middle: np.ndarray = upper * 2.0 ** (-0.5 / CELLS_AN_OCTAVE)
    return middle
