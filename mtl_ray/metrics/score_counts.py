"""How much positive and negative weight each score received: what every ranking metric needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mtl_ray.metrics.metric import Array, FloatArray, IntArray

_COMPACT_EVERY = 1 << 18


@dataclass(frozen=True)
class ScoreTable:
    """One line for each distinct (group, score), sorted by group, then by score, ascending."""

    group: Array
    score: FloatArray
    positive: FloatArray
    """Weight of the rows with label 1."""
    negative: FloatArray
    """Weight of the rows with label 0."""

    def __len__(self) -> int:
        return len(self.score)

    def group_starts(self) -> IntArray:
        """Index of the first line of each group, `[G]`."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(np.concatenate([[True], self.group[1:] != self.group[:-1]]))


class ScoreCounts:
    """A `ScoreTable` that grows: exact, since equal scores are interchangeable in every ranking metric.

    Memory is 32 bytes for each distinct (group, score), strings more. Rows are kept as they come and aggregated
    once they outnumber the table, so that an update costs amortised O(log n) a row.
    """

    def __init__(self) -> None:
        self._table: ScoreTable | None = None
        self._pending: list[ScoreTable] = []
        self._pending_rows = 0

    def append(self, score: FloatArray, label: FloatArray, weight: FloatArray, group: Array | None = None) -> None:
        """Counts rows in; every array is `[n]`. Without `group` all rows are one group."""
        if not len(score):
            return
        keys = np.zeros(len(score), dtype=np.int64) if group is None else group
        self._add(ScoreTable(keys, score, weight * label, weight * (1.0 - label)))

    def merge(self, other: ScoreCounts) -> None:
        """Counts everything that `other` holds in."""
        table = other.table()
        if len(table):
            self._add(table)

    def table(self) -> ScoreTable:
        """Everything counted so far."""
        if self._pending or self._table is None:
            parts = ([self._table] if self._table is not None else []) + self._pending
            self._table = _aggregate(parts)
            self._pending, self._pending_rows = [], 0
        return self._table

    def __getstate__(self) -> dict[str, Any]:
        return {"table": self.table()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._table, self._pending, self._pending_rows = state["table"], [], 0

    def _add(self, part: ScoreTable) -> None:
        known = self._pending[0] if self._pending else self._table
        if known is not None and len(known) and known.group.dtype.kind != part.group.dtype.kind:
            raise ValueError(f"group keys were {known.group.dtype} and are now {part.group.dtype}")
        self._pending.append(part)
        self._pending_rows += len(part)
        if self._pending_rows > max(_COMPACT_EVERY, 0 if self._table is None else len(self._table)):
            self.table()


def _aggregate(parts: list[ScoreTable]) -> ScoreTable:
    if not parts:
        nothing = np.zeros(0)
        return ScoreTable(np.zeros(0, dtype=np.int64), nothing, nothing, nothing)
    group = np.concatenate([part.group for part in parts])
    score = np.concatenate([part.score for part in parts])
    positive = np.concatenate([part.positive for part in parts])
    negative = np.concatenate([part.negative for part in parts])
    order = np.lexsort((score, group))
    group, score = group[order], score[order]
    new = np.ones(len(score), dtype=bool)
    new[1:] = (score[1:] != score[:-1]) | (group[1:] != group[:-1])
    starts = np.flatnonzero(new)
    if not len(starts):
        return ScoreTable(group, score, positive, negative)
    return ScoreTable(
        group[starts],
        score[starts],
        np.add.reduceat(positive[order], starts),
        np.add.reduceat(negative[order], starts),
    )
