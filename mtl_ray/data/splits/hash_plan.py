"""A split by hash: rows or groups in the order of their hashes, cut at ranks.

The plan keeps only the hashes at the cuts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mtl_ray.data.splits.hashing import ABOVE_ALL, group_hashes, row_hashes
from mtl_ray.data.splits.split import WHERE, SplitBoundaries, SplitPlan
from mtl_ray.errors import DataError


@dataclass(frozen=True)
class HashPlan(SplitPlan):
    """The interval that a hash falls into says the part."""

    boundaries: SplitBoundaries
    key: int
    """Stream of the hashes."""
    column: str | None
    """Whose values are hashed; None: the row ids."""
    cuts: tuple[int, ...]
    """Ascending hashes `[K - 1]` at which intervals 1 to K - 1 begin."""
    interval_parts: tuple[int, ...]
    """Part of each interval, `[K]`."""

    def parts(self, rows: pa.Table) -> np.ndarray:
        found = row_hashes(rows, self.key) if self.column is None else group_hashes(rows, self.column, self.key)
        interval = np.searchsorted(np.array(self.cuts, np.uint64), found, side="right")
        return np.array(self.interval_parts, np.int8)[interval]


def row_cuts(hashes: np.ndarray, ranks: Sequence[int]) -> tuple[int, ...]:
    """The hashes at those ranks, which ascend; ABOVE_ALL at the rank after the last.

    Reorders `hashes`, uint64 `[n]`.
    """
    inside = [rank for rank in ranks if rank < hashes.size]
    if inside:
        hashes.partition(inside)
    return tuple(int(hashes[rank]) if rank < hashes.size else ABOVE_ALL for rank in ranks)


def group_cuts(hashes: np.ndarray, ranks: Sequence[int], column: str) -> tuple[int, ...]:
    """As `row_cuts`, but between two groups: each cut at the group's edge that lies nearest to its rank, with at
    least one group in every interval. Sorts `hashes`, uint64 `[n]`, a row's hash being that of its group.

    Raises `DataError` where there are fewer groups than intervals.
    """
    hashes.sort()
    begins = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
    intervals = len(ranks) + 1
    if begins.size < intervals:
        raise DataError(
            f"The group column {column!r} has too few values to split by.",
            where=f"{WHERE}.column",
            found=f"{begins.size} different values",
            allowed=f"at least {intervals}, as every value keeps its rows together",
            fix="another column, or a split by rows",
        )
    cuts: list[int] = []
    lowest = 1
    for place, rank in enumerate(ranks):
        highest = begins.size - (len(ranks) - place)
        after = int(np.clip(np.searchsorted(begins, rank), lowest, highest))
        before = max(after - 1, lowest)
        chosen = before if rank - begins[before] <= begins[after] - rank else after
        cuts.append(int(hashes[begins[chosen]]))
        lowest = chosen + 1
    return tuple(cuts)
