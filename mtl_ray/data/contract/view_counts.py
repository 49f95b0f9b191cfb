"""How well a feature view's rows met the spine's, and how old they were."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from mtl_ray.data.distributions import NumberDistribution
from mtl_ray.data.spine import EVENT_TIMESTAMP, TIMESTAMP_TYPE
from mtl_ray.schema import Settings

FEATURE_TIMESTAMP = "{view}__feature_timestamp"
"""Column with the event timestamp of the feature row that was joined, null where there was none."""


class ViewCounts(Settings):
    """Rows of one view, of all parts."""

    rows: int
    empty: int | None
    """Rows in which every feature of the view is missing; None: the model reads none of its features directly."""
    matched: int | None
    """Rows with a feature row; None where the join does not say."""

    @staticmethod
    def merged(counts: Iterable[ViewCounts]) -> ViewCounts:
        """Of all rows of `counts`."""
        counts = list(counts)
        return ViewCounts(
            rows=sum(part.rows for part in counts),
            empty=_sum(part.empty for part in counts),
            matched=_sum(part.matched for part in counts),
        )


def view_counts(table: pa.Table, empty: np.ndarray | None, ages: NumberDistribution | None) -> ViewCounts:
    """`empty`: rows without any feature of the view, bool `[rows]`; `ages`: `view_ages` of the view."""
    return ViewCounts(
        rows=table.num_rows,
        empty=None if empty is None else int(np.count_nonzero(empty)),
        matched=None if ages is None else ages.count,
    )


def view_ages(view: str, table: pa.Table) -> NumberDistribution | None:
    """Seconds from the event of the joined feature row to the example's, missing where none was joined.

    None where the join does not say: Feast's own offline stores keep the time for themselves.
    """
    name = FEATURE_TIMESTAMP.format(view=view)
    if name not in table.column_names:
        return None
    example, feature = _microseconds(table[EVENT_TIMESTAMP]), _microseconds(table[name])
    known = np.asarray(table[name].is_valid())
    return NumberDistribution.of(np.where(known, (example - feature) / 1e6, np.nan))


def _microseconds(times: pa.ChunkedArray) -> np.ndarray:
    """int64 `[rows]` since 1970, 0 where null."""
    return np.asarray(times.cast(TIMESTAMP_TYPE, safe=False).cast(pa.int64()).fill_null(0), dtype=np.int64)


def _sum(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
