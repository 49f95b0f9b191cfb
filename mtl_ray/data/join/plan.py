"""How a join is cut so that it stays within its memory budget.

The spine is cut into *buckets*, contiguous ranges of rows that are joined and written one by one. Small views are
*broadcast*: kept whole, sorted once, and joined to every bucket. A view too large for that is *shuffled*: it and the
spine's keys are hash-partitioned by one join key on disk, joined partition by partition, and the results are handed
back to their buckets. Views that share a join key share one shuffle of the spine.

Everything in one bucket, all views broadcast, nothing on disk, is the plan of whatever fits into the budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mtl_ray.data.join.parquet_rows import Rows
from mtl_ray.data.join.views import JoinView
from mtl_ray.errors import ConfigError
from mtl_ray.machine_memory import shown_bytes

SMALLEST_BUCKET = 2000
MOST_PARTITIONS = 2048

# Shares of the budget. What is broadcast stays; partitioning, joining partitions and joining buckets come one after
# another, and the rest is for what the allocators keep and for estimates that were too low.
_BROADCAST_SHARE = 0.35
_WORK_SHARE = 0.35
_PARTITION_SHARE = 0.6 * _WORK_SHARE
"""The views of one partition; the rest of the work is for its spine rows and their result."""

_KEY_BYTES = 48
"""Bytes of a key or time of a row while a join sorts it: two copies, indices and the as-of join's own tables."""
_COPIES = 2.2
"""Of the result's columns while they go from Polars to Arrow and into a file."""
_SKEW = 1.5
"""How much larger the largest partition may be than the mean."""


@dataclass(frozen=True)
class Shuffle:
    """Views that are hash-partitioned by one spine column."""

    key: str
    views: tuple[int, ...]
    """Positions in the list of views."""
    partitions: int


@dataclass(frozen=True)
class JoinPlan:
    """The cut of a join."""

    rows: int
    bucket_rows: int
    broadcast: tuple[int, ...]
    shuffles: tuple[Shuffle, ...]
    view_chunk_rows: tuple[int, ...]
    """For each view, the rows that are partitioned at a time."""

    @property
    def buckets(self) -> int:
        """Number of buckets; an empty spine has one empty bucket, which gives the result its columns."""
        return max(1, -(-self.rows // self.bucket_rows))

    def bucket(self, index: int) -> tuple[int, int]:
        """Rows [begin, end) of a bucket."""
        return index * self.bucket_rows, min(self.rows, (index + 1) * self.bucket_rows)

    def describe(self, views: Sequence[JoinView]) -> str:
        """The plan in a sentence."""
        parts = [f"{self.rows:,} spine rows in {self.buckets} bucket{'s' if self.buckets > 1 else ''}"]
        if self.broadcast:
            parts.append("whole in memory: " + ", ".join(views[i].name for i in self.broadcast))
        for shuffle in self.shuffles:
            names = ", ".join(views[i].name for i in shuffle.views)
            parts.append(f"in {shuffle.partitions} partitions by {shuffle.key}: {names}")
        return "; ".join(parts)


def plan_join(
    spine: Rows,
    spine_columns: Sequence[str],
    views: Sequence[JoinView],
    budget: int,
    most_bucket_rows: int | None = None,
) -> JoinPlan:
    """Cut the join of `spine` (of which `spine_columns` are carried into the result) with `views`.

    `budget` in bytes, for one process. Raises `ConfigError` where it is too small for any plan, saying how much would
    do.
    """
    costs = [_view_cost(view) for view in views]
    row_cost = _row_cost(spine, spine_columns, views)
    rows = spine.num_rows
    chunks = tuple(_chunk_rows(view, budget) for view in views)
    everything = tuple(range(len(views)))
    at_once = math.inf
    if most_bucket_rows is None or rows <= most_bucket_rows:
        at_once = (max(costs, default=0.0) + rows * row_cost) / (_BROADCAST_SHARE + _WORK_SHARE)
    if at_once <= budget:
        return JoinPlan(rows, max(rows, 1), everything, (), chunks)

    smallest = min(SMALLEST_BUCKET, max(rows, 1))
    needed, what = max(_limits(costs, views, smallest, row_cost))
    if needed > budget:
        raise _too_small(budget, min(needed, at_once), what)
    bucket_rows = max(smallest, int(budget * _WORK_SHARE / row_cost))
    if most_bucket_rows is not None:
        bucket_rows = min(bucket_rows, most_bucket_rows)
    # A view without keys cannot be partitioned.
    broadcast = [index for index in everything if not views[index].keys]
    left = budget * _BROADCAST_SHARE - sum(costs[index] for index in broadcast)
    for index in sorted(set(everything) - set(broadcast), key=lambda i: costs[i]):
        if costs[index] <= left:
            broadcast.append(index)
            left -= costs[index]
    large = [index for index in everything if index not in broadcast]
    shuffles = tuple(
        Shuffle(key, members, _partitions(sum(costs[i] for i in members), budget))
        for key, members in _by_key(large, views, costs).items()
    )
    return JoinPlan(rows, bucket_rows, tuple(sorted(broadcast)), shuffles, chunks)


def _limits(
    costs: Sequence[float], views: Sequence[JoinView], smallest: int, row_cost: float
) -> list[tuple[float, str]]:
    """(least budget, what needs it): a plan exists from the largest of them on."""
    limits = [(smallest * row_cost / _WORK_SHARE, f"{smallest:,} spine rows at a time")]
    whole = [index for index, view in enumerate(views) if not view.keys]
    if whole:
        names = ", ".join(views[index].name for index in whole)
        cost = sum(costs[index] for index in whole)
        limits.append((cost / _BROADCAST_SHARE, f"the views without an entity, which cannot be partitioned: {names}"))
    cut = sum(cost for cost, view in zip(costs, views, strict=True) if view.keys)
    limits.append((_SKEW * cut / (MOST_PARTITIONS * _PARTITION_SHARE), f"{MOST_PARTITIONS} partitions of the views"))
    return limits


def _by_key(large: Sequence[int], views: Sequence[JoinView], costs: Sequence[float]) -> dict[str, tuple[int, ...]]:
    """Spine column -> the large views to partition by it: as few shuffles of the spine as a greedy choice finds."""
    groups: dict[str, tuple[int, ...]] = {}
    left = list(large)
    while left:
        keys = dict.fromkeys(key for index in left for key in views[index].spine_keys)

        def weight(key: str, members: tuple[int, ...] = tuple(left)) -> tuple[int, float]:
            served = [i for i in members if key in views[i].spine_keys]
            alone = sum(1 for i in served if len(views[i].keys) == 1)
            return alone, sum(costs[i] for i in served)

        best = max(keys, key=weight)
        groups[best] = tuple(index for index in left if best in views[index].spine_keys)
        left = [index for index in left if index not in groups[best]]
    return groups


def _partitions(cost: float, budget: int) -> int:
    return min(MOST_PARTITIONS, max(1, math.ceil(_SKEW * cost / (budget * _PARTITION_SHARE))))


def _view_cost(view: JoinView) -> float:
    """Bytes of the whole view, ready to be joined."""
    rows = view.rows
    values = rows.bytes_per_row(view.source_columns)
    return rows.num_rows * (1.4 * values + _KEY_BYTES * (len(view.keys) + 2))


def _row_cost(spine: Rows, spine_columns: Sequence[str], views: Sequence[JoinView]) -> float:
    """Bytes of one spine row with its result while it is joined."""
    own = spine.bytes_per_row(spine_columns)
    features = sum(view.rows.bytes_per_row([source for source, _ in view.columns]) for view in views)
    keys = 1 + max((len(view.keys) for view in views), default=0)
    return own + _COPIES * (own + features + 8 * len(views)) + _KEY_BYTES * keys


def _chunk_rows(view: JoinView, budget: int) -> int:
    """Rows of the view that are partitioned at a time."""
    values = view.rows.bytes_per_row(view.source_columns)
    return max(1, int(budget * _WORK_SHARE / (3.5 * values + _KEY_BYTES)))


def _too_small(budget: int, needed: float, what: str) -> ConfigError:
    return ConfigError(
        "The memory budget of the point-in-time join is too small to work.",
        where="memory_budget",
        found=shown_bytes(budget),
        allowed=f"at least {shown_bytes(needed * 1.05)}, for {what}",
        fix="raise memory_budget, or leave it out (half of the free memory)",
    )
