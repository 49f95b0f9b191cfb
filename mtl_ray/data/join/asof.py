"""Which feature row each spine row sees: the newest one of its keys at its own time.

The as-of join itself is Polars' (`join_asof`); it joins positions, not values, so that the features of a view are
gathered once, whatever their number.

The rules, for a spine row of time t and a view:

- Candidates are the view's rows of the same keys with event timestamp <= t. A null key matches nothing.
- Of several, the one with the greatest (event timestamp, created timestamp, position in the source) counts; a null
  created timestamp is the smallest.
- A chosen row older than the ttl (t - event timestamp > ttl) leaves the features null: exactly as old is kept.
- `known_only`: rows whose created timestamp is later than t are no candidates, so that late backfills do not leak. A
  null created timestamp is known from the event timestamp on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Positions = npt.NDArray[np.int64]

TIME = "__time"
CREATED = "__created"
ROW = "__row"

_FEATURE_TIME = "__feature_time"
_KNOWN = "__known"
_INDEX = "__index"


class SortedView:
    """A view's keys and times in the order that the as-of join needs, built once for many spine chunks."""

    def __init__(self, keys: pl.DataFrame, by: Sequence[str], *, ttl: int | None, known_only: bool = False) -> None:
        """
        Args:
            keys: one row a feature row: the columns of `by`, TIME int64 (microseconds) and, where the source has it,
                CREATED int64. Rows without a time are left out.
            by: key columns; none for a view without entities.
            ttl: microseconds, or None.
            known_only: see the module.
        """
        self._by = list(by)
        self._ttl = ttl
        frame = keys.with_row_index(_INDEX).filter(pl.col(TIME).is_not_null())
        if by:
            frame = frame.filter(pl.all_horizontal(pl.col(name).is_not_null() for name in by))
        has_created = CREATED in frame.columns
        order = [TIME, CREATED, _INDEX] if has_created else [TIME, _INDEX]
        frame = frame.sort(order)
        if known_only and has_created:
            frame = _by_knowledge(frame, self._by)
        known = _KNOWN if known_only and has_created else TIME
        frame = frame.select(*self._by, pl.col(known).alias(TIME), pl.col(TIME).alias(_FEATURE_TIME), _INDEX)
        self._frame = _together(frame, self._by)

    def match(self, spine: pl.DataFrame) -> tuple[Positions, Positions]:
        """For each row of `spine` the position of its feature row in the source and that row's time, int64 `[rows]`.

        `spine`: see `by_time`; the key columns are named and typed as the view's. Position -1 where nothing matches; a
        row without a time matches nothing. Times are in microseconds, and mean nothing where nothing matches.
        """
        matched = np.full(spine.height, -1, dtype=np.int64)
        times = np.zeros(spine.height, dtype=np.int64)
        left = spine.select(*self._by, TIME, ROW)
        left = left.filter(pl.all_horizontal(pl.col(name).is_not_null() for name in (*self._by, TIME)))
        if left.is_empty() or self._frame.is_empty():
            return matched, times  # also where a side without any value has another key type than the other
        arguments: dict[str, Any] = {"by": self._by, "check_sortedness": False} if self._by else {}
        joined = _together(left, self._by).join_asof(self._frame, on=TIME, strategy="backward", **arguments)
        found = joined.lazy().filter(pl.col(_INDEX).is_not_null())
        if self._ttl is not None:
            found = found.filter(pl.col(TIME) - pl.col(_FEATURE_TIME) <= self._ttl)
        kept = found.select(ROW, _INDEX, _FEATURE_TIME).collect()
        rows = kept[ROW].to_numpy()
        matched[rows] = kept[_INDEX].to_numpy()
        times[rows] = kept[_FEATURE_TIME].to_numpy()
        return matched, times


def by_time(spine: pl.DataFrame) -> pl.DataFrame:
    """`spine` (key columns and TIME int64, microseconds) with the positions of its rows, ROW, in the order of TIME.

    Done once for all views that are matched with these rows.
    """
    return spine.with_row_index(ROW).sort(TIME)


def _together(frame: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """`frame`, in the order of time, with equal first keys together.

    The as-of join looks at each group by itself and needs the order of time within it alone; with both sides in the
    order of the key it is two to four times as fast, because it no longer jumps about in memory.
    """
    return frame.sort(by[0], maintain_order=True) if by else frame


def _by_knowledge(frame: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """`frame`, in the order of candidates, as the sequence of best rows by the time at which each became known.

    A row becomes known at max(event timestamp, created timestamp). Going through the rows in that order, the best
    candidate so far is a running maximum of the order of candidates; the as-of join on the time of knowledge finds it.
    """
    ranked = frame.with_row_index("__rank").with_columns(
        pl.max_horizontal(TIME, pl.col(CREATED).fill_null(pl.col(TIME))).alias(_KNOWN)
    )
    known = ranked.sort([_KNOWN, "__rank"])
    best = pl.col("__rank").cum_max()
    known = known.with_columns((best.over(by) if by else best).alias("__best"))
    chosen = ranked.select(pl.col("__rank").alias("__best"), pl.col(TIME), pl.col(_INDEX))
    return known.select([*by, _KNOWN, "__best"]).join(chosen, on="__best", how="left", maintain_order="left")
