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
_KEY = "__key"

_LARGEST_KEY = 1 << 62
_WORTH_RUNS = 0.7
"""Runs per row below which looking up a run once saves more than finding the runs costs."""


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
        self._one_key = _one_key(frame, self._by)
        if self._one_key is not None:
            frame = frame.with_columns(self._one_key.alias(_KEY))
            self._by = [_KEY]
        has_created = CREATED in frame.columns
        order = [TIME, CREATED, _INDEX] if has_created else [TIME, _INDEX]
        frame = frame.sort(order)
        if known_only and has_created:
            frame = _by_knowledge(frame, self._by)
        known = _KNOWN if known_only and has_created else TIME
        self._frame = frame.select(*self._by, pl.col(known).alias(TIME), pl.col(TIME).alias(_FEATURE_TIME), _INDEX)

    def match(self, spine: pl.DataFrame, *, times: bool = True) -> tuple[Positions, Positions | None]:
        """For each row of `spine` the position of its feature row in the source, -1 where nothing matches, and, with
        `times`, that row's time in microseconds, which means nothing where nothing matches: int64 `[rows]` each.

        `spine`: see `by_time`; the key columns are named and typed as the view's. A row without a time matches nothing.
        """
        found = [np.full(spine.height, -1, dtype=np.int64)]
        if times:
            found.append(np.zeros(spine.height, dtype=np.int64))
        if not self._frame.is_empty():  # also where a side without any value has another key type than the other
            self._fill(spine, found)
        return found[0], found[1] if times else None

    def _fill(self, spine: pl.DataFrame, found: list[Positions]) -> None:
        """Write positions, and times where `found` has room for them, of the rows that match."""
        keys = self._by if self._one_key is None else [self._one_key.alias(_KEY)]
        left = _complete(spine.select(*keys, TIME, ROW), [*self._by, TIME])
        if left.is_empty():
            return
        rows = left[ROW].to_numpy()
        run = _runs(left, self._by)
        if run is not None:
            left = left.filter(np.diff(run, prepend=-1) > 0)
        for target, values in zip(found, self._nearest(left, len(found)), strict=True):
            target[rows] = values if run is None else values[run]

    def _nearest(self, left: pl.DataFrame, wanted: int) -> list[Positions]:
        """Positions, and times where two are `wanted`, of rows without nulls in the order of TIME: int64 `[rows]`."""
        arguments: dict[str, Any] = {"by": self._by, "check_sortedness": False} if self._by else {}
        joined = left.select(*self._by, TIME).join_asof(self._frame, on=TIME, strategy="backward", **arguments)
        found = pl.col(_INDEX).is_not_null()
        if self._ttl is not None:
            found = found & (pl.col(TIME) - pl.col(_FEATURE_TIME) <= self._ttl)
        columns = [
            pl.when(found).then(pl.col(_INDEX).cast(pl.Int64)).otherwise(-1).alias(_INDEX),
            pl.col(_FEATURE_TIME).fill_null(0),
        ]
        matched = joined.select(columns[:wanted])
        return [column.to_numpy() for column in matched.get_columns()]


def by_time(spine: pl.DataFrame) -> pl.DataFrame:
    """`spine` (key columns and TIME int64, microseconds) with the positions of its rows, ROW, in the order of TIME.

    Done once for all views that are matched with these rows.
    """
    return spine.with_row_index(ROW).sort(TIME)


def _complete(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Rows without a null in any of `columns`; `frame` itself, not a copy, where there is none."""
    with_nulls = [name for name in columns if frame[name].null_count()]
    return frame.filter(pl.all_horizontal(pl.col(name).is_not_null() for name in with_nulls)) if with_nulls else frame


def _one_key(frame: pl.DataFrame, by: list[str]) -> pl.Expr | None:
    """Several integer keys of the view as one number, null for keys that the view cannot have; None where they do not
    fit into 62 bits.

    The as-of join takes half the time with one key. (What overflows lies outside the view's range, and is null.)
    """
    if len(by) < 2 or frame.is_empty() or any(frame.schema[name] != pl.Int64 for name in by):
        return None
    number, within, size = pl.lit(0, pl.Int64), pl.lit(True), 1
    for name in by:
        low, high = frame.select(pl.col(name).min().alias("low"), pl.col(name).max().alias("high")).row(0)
        size *= high - low + 1
        if size > _LARGEST_KEY:
            return None
        number = number * (high - low + 1) + (pl.col(name) - low)
        within = within & pl.col(name).is_between(low, high)
    return pl.when(within).then(number)


def _runs(left: pl.DataFrame, by: list[str]) -> npt.NDArray[np.int64] | None:
    """For each row the number of its run of equal keys and times, `[rows]`; None where runs are mostly of one row.

    The items of a slate are one user at one time: the user's row is looked up once for all of them.
    """
    changed = np.zeros(left.height, dtype=bool)
    changed[0] = True
    for name in (*by, TIME):
        column = left[name]
        changed[1:] |= (column.slice(1) != column.head(-1)).to_numpy()
    runs = int(np.count_nonzero(changed))
    return np.cumsum(changed) - 1 if runs < _WORTH_RUNS * left.height else None


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
