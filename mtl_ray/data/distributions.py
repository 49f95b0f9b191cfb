"""What the rows of a column hold, counted so that parts of the rows can be put together later.

Neither the order of the rows nor how they are cut into parts changes a bit of a merged result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.errors import DataError

EXACT_VALUES = 1_000_000
"""Distinct numbers of a column up to which its distribution is exact."""

_METADATA = b"mtl_ray.distribution"
_CATEGORIES_AT_ONCE = 1_000_000


@dataclass(frozen=True, eq=False)
class NumberDistribution:
    """The multiset of one column's finite numbers; -0.0 counts as 0.0.

    Exact up to `limit` distinct values. Beyond, it holds cells: all values whose float64 agrees but for its last
    `level` bits share a cell, with `level` the smallest that leaves at most `limit` cells. Of a cell the lowest and
    the highest value and the count are exact, and between them the values are taken to lie evenly. Joining rows only
    ever adds cells, so the level of a whole is at least that of each part, and the result does not depend on the
    parts. (DDSketch, Masson, Rim, Lee 2019, has logarithmic cells too; here their width is found from the data.)

    Errors: `count`, `minimum` and `maximum` are exact. The value of any rank lies in the cell of the true one, so it is
    off by at most 2 ** (level - 52) of its size (normal float64); with `limit` EXACT_VALUES `level` is at most 45, that
    is 0.8 % whatever the data, and about 2e-6 for values within a factor of two. A rank (`share_at_most`) is off by
    less than `rank_error`, the share of the fullest cell with more than one value: small where values spread, but
    large where most of them crowd in a range that is tiny beside those of more than `limit` others.
    """

    low: np.ndarray
    """float64 `[d]`, rising: the value, or the lowest value of the cell."""
    high: np.ndarray
    """float64 `[d]`; `low` itself where exact."""
    counts: np.ndarray
    """int64 `[d]`, each >= 1."""
    missing: int
    """Rows without a finite number."""
    level: int = 0
    """Bits of the float64 that cells do not tell apart; 0: exact."""
    limit: int = EXACT_VALUES

    @classmethod
    def of(cls, values: np.ndarray, limit: int = EXACT_VALUES) -> NumberDistribution:
        """The distribution of `values`, float64 `[n]`; NaN and infinite are missing. `limit` is at least 2."""
        if limit < 2:
            raise ValueError(f"limit must be at least 2, found {limit}")
        values = np.asarray(values, dtype=np.float64)
        present = values[np.isfinite(values)] + 0.0  # -0.0 becomes 0.0
        distinct, counts = np.unique(present, return_counts=True)
        counts, missing = counts.astype(np.int64), values.size - present.size
        if distinct.size <= limit:
            return cls(distinct, distinct, counts, missing, limit=limit)
        return _cells(distinct, distinct, counts, missing, 0, limit)

    @staticmethod
    def merged(parts: Iterable[NumberDistribution]) -> NumberDistribution:
        """The distribution of all rows of `parts`, by the smallest of their limits; `parts` is read once.

        Holds at most about three times `limit` cells, and sorts each cell of a part about once.
        """
        waiting: list[NumberDistribution] = []
        cells = 0
        for part in parts:
            waiting.append(part)
            cells += part.low.size
            if cells > 2 * part.limit:
                waiting = [_joined(waiting)]
                cells = waiting[0].low.size
        return _joined(waiting)

    @property
    def exact(self) -> bool:
        return self.level == 0

    @cached_property
    def count(self) -> int:
        """Number of finite values."""
        return int(self.counts.sum())

    @property
    def minimum(self) -> float:
        """NaN without values."""
        return float(self.low[0]) if self.low.size else math.nan

    @property
    def maximum(self) -> float:
        """NaN without values."""
        return float(self.high[-1]) if self.high.size else math.nan

    @property
    def rank_error(self) -> float:
        """`share_at_most` is off by less than this; 0 where exact."""
        mixed = self.counts[self.high > self.low]
        return float(mixed.max()) / self.count if mixed.size else 0.0

    def quantiles(self, q: Any, low: float | None = None, high: float | None = None) -> np.ndarray:
        """Quantiles float64 `[k]` of the values clipped to `low` and `high`, at `q` `[k]`; NaN without values.

        Linear interpolation in the order of operations of `np.quantile`: where exact, bit for bit its result for the
        raw values.
        """
        q = np.asarray(q, dtype=np.float64)
        if not self.count:
            return np.full(q.shape, np.nan)
        position = (self.count - 1) * q
        below = np.floor(position)
        part = position - below
        index = below.astype(np.int64)
        a = _clipped(self._in_order(index), low, high)
        b = _clipped(self._in_order(np.minimum(index + 1, self.count - 1)), low, high)
        with np.errstate(over="ignore", invalid="ignore"):
            step = b - a
            linear = np.where(part < 0.5, a + step * part, b - step * (1.0 - part))
        return np.where(np.isfinite(step), linear, a * (1.0 - part) + b * part)

    def values_at(self, q: Any) -> np.ndarray:
        """The values at ranks `q` `[k]` from 0 (the smallest) to 1, float64 `[k]`; NaN without values.

        Each is a value of the column, as of `np.quantile(..., method="lower")`: where exact, bit for bit its result.
        """
        q = np.asarray(q, dtype=np.float64)
        if not self.count:
            return np.full(q.shape, np.nan)
        return self._in_order(np.floor((self.count - 1) * q).astype(np.int64))

    def share_at_most(self, x: Any) -> np.ndarray:
        """Share of the values that are <= `x` (float64 `[k]`, no NaN), float64 `[k]`; NaN without values."""
        x = np.asarray(x, dtype=np.float64)
        if not self.count:
            return np.full(x.shape, np.nan)
        cell = np.searchsorted(self.low, x, side="right") - 1
        at_most = np.where(cell >= 0, self._ends[cell], 0)
        cut = (cell >= 0) & (x < self.high[cell])
        inside = cell[cut]
        width = self.high[inside] - self.low[inside]
        rank = np.floor((x[cut] - self.low[inside]) / width * (self.counts[inside] - 1)).astype(np.int64)
        at_most[cut] = self._ends[inside] - self.counts[inside] + 1 + rank
        return at_most / self.count

    def moments(
        self,
        transform: Callable[[np.ndarray], np.ndarray] | None = None,
        low: float | None = None,
        high: float | None = None,
    ) -> tuple[float, float]:
        """Mean and standard deviation (divisor n) of `transform` (float64 `[d]` -> `[d]`) of the clipped values.

        Sums are rounded once (Shewchuk 1997, `math.fsum`); a column of one value has std 0 exactly. Infinite or NaN
        where the numbers are too large, and NaN without values. Of a cell the middle counts.
        """
        if not self.count:
            return math.nan, math.nan
        x = _clipped(self.low, low, high)
        if not self.exact:
            x = x + 0.5 * (_clipped(self.high, low, high) - x)
        y = x if transform is None else transform(x)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = _sum(y * self.counts) / self.count
            if math.isfinite(mean):
                # The products were rounded: without this a column of one value could have another mean.
                mean += _sum((y - mean) * self.counts) / self.count
            variance = _sum((y - mean) ** 2 * self.counts) / self.count
        return mean, math.sqrt(variance)

    def to_arrow(self) -> pa.Table:
        """Columns low, count and, unless exact, high; the rest is metadata of the schema, which Parquet keeps."""
        columns = {"low": self.low, "count": self.counts}
        if not self.exact:
            columns["high"] = self.high
        return _with_metadata(pa.table(columns), missing=self.missing, level=self.level, limit=self.limit)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> NumberDistribution:
        low, counts = table["low"].to_numpy(), table["count"].to_numpy()
        high = table["high"].to_numpy() if "high" in table.column_names else low
        return cls(low, high, counts, **_metadata(table))

    @cached_property
    def _ends(self) -> np.ndarray:
        """int64 `[d]`: number of values up to and with each cell."""
        return np.cumsum(self.counts)

    def _in_order(self, index: np.ndarray) -> np.ndarray:
        """The values at `index` (int64 `[k]`, from 0) of the sorted values."""
        cell = np.searchsorted(self._ends, index, side="right")
        low, high = self.low[cell], self.high[cell]
        within = index - (self._ends[cell] - self.counts[cell])
        share = within / np.maximum(self.counts[cell] - 1, 1)
        return np.where(share == 1.0, high, low + (high - low) * share)


@dataclass(frozen=True, eq=False)
class CategoryCounts:
    """How often each value of a category occurs, exactly."""

    table: pa.Table
    """value (int64 or large_string, rising, none null; null type where no typed row was seen), count int64 and, where
    times were given, last int64: the newest time of the value."""
    missing: int
    """Rows (of a list: entries) that are null."""

    @classmethod
    def of(cls, values: pa.Array, times: pa.Array | None = None) -> CategoryCounts:
        """The counts of `values` as `category_values` returns them; `times`: int64 of each."""
        if pa.types.is_null(values.type) or not len(values):
            return cls(_counts_table(pa.nulls(0), pa.array([], pa.int64())), missing=len(values))
        if times is not None:
            seen = pa.table({"value": values, "count": pa.repeat(1, len(values)), "last": times})
            return cls(_summed(seen.filter(pc.is_valid(seen["value"]))), missing=values.null_count)
        counts = pc.value_counts(values.drop_null())
        return cls(_by_value(_counts_table(counts.field("values"), counts.field("counts"))), missing=values.null_count)

    @staticmethod
    def merged(parts: Iterable[CategoryCounts], column: str = "category") -> CategoryCounts:
        """The counts over all rows of `parts`, which is read once.

        Holds at most about three times the distinct values. Raises `DataError` naming `column` where one part holds
        text and another integers.
        """
        waiting: list[CategoryCounts] = []
        rows, allowed = 0, _CATEGORIES_AT_ONCE
        for part in parts:
            waiting.append(part)
            rows += part.table.num_rows
            if rows > allowed:
                waiting = [_counted(waiting, column)]
                rows = waiting[0].table.num_rows
                allowed = max(_CATEGORIES_AT_ONCE, 2 * rows)
        return _counted(waiting, column)

    @cached_property
    def total(self) -> int:
        """Number of values that are not null."""
        return int(pc.sum(self.table["count"]).as_py() or 0)

    @property
    def kind(self) -> pa.DataType:
        """int64, large_string or, where no typed row was seen, null."""
        return self.table.schema.field("value").type

    def to_arrow(self) -> pa.Table:
        """`table` with `missing` as metadata of its schema, which Parquet keeps."""
        return _with_metadata(self.table, missing=self.missing)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> CategoryCounts:
        return cls(table.replace_schema_metadata(None), **_metadata(table))


def _joined(parts: Sequence[NumberDistribution]) -> NumberDistribution:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NumberDistribution.of(np.empty(0))
    level = max(part.level for part in parts)
    low = np.concatenate([part.low for part in parts])
    high = low if level == 0 else np.concatenate([part.high for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    missing = sum(part.missing for part in parts)
    return _cells(low, high, counts, missing, level, min(part.limit for part in parts))


def _cells(
    low: np.ndarray, high: np.ndarray, counts: np.ndarray, missing: int, level: int, limit: int
) -> NumberDistribution:
    """Values or cells of at most `level` in any order, gathered into at most `limit` of the smallest level."""
    if not low.size:
        return NumberDistribution(low, low, counts, missing, level, limit)
    exact = high is low
    order = np.argsort(low, kind="stable")  # parts are sorted runs, which this sort merges
    low, counts = low[order], counts[order]
    high = low if exact else high[order]
    bits = _rising_bits(low)
    apart = bits[1:] ^ bits[:-1]  # neighbours are in different cells where they differ in a bit above the level
    level = _level(apart, level, limit)
    starts = np.flatnonzero(np.concatenate([[True], (apart >> np.uint64(level)) > 0]))
    first = low[starts]
    last = first if level == 0 else np.maximum.reduceat(high, starts)
    return NumberDistribution(first, last, np.add.reduceat(counts, starts), missing, level, limit)


def _level(apart: np.ndarray, level: int, limit: int) -> int:
    """The smallest level, at least `level`, that leaves at most `limit` cells."""
    if 1 + np.count_nonzero(apart >> np.uint64(level)) <= limit:
        return level
    neighbours = np.bincount(_bit_length(apart), minlength=65)
    # At position l: neighbours that differ in a bit above the last l.
    different = neighbours[::-1].cumsum()[::-1][1:]
    return int(np.argmax(1 + different <= limit))


def _rising_bits(values: np.ndarray) -> np.ndarray:
    """uint64 that order as the float64 do, and of which those with equal leading bits are a range of values."""
    bits = np.ascontiguousarray(values).view(np.int64)
    return (bits ^ ((bits >> 63) & np.int64(2**63 - 1))).view(np.uint64)


def _bit_length(values: np.ndarray) -> np.ndarray:
    """Of uint64 `[n]`, int64 `[n]` from 0 to 64."""
    upper, lower = values >> np.uint64(32), values & np.uint64(2**32 - 1)
    length = np.where(upper > 0, 32 + np.frexp(upper.astype(np.float64))[1], np.frexp(lower.astype(np.float64))[1])
    return length.astype(np.int64)


def _clipped(values: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    return values if low is None and high is None else np.clip(values, low, high)


def _sum(values: np.ndarray) -> float:
    if not np.isfinite(values).all():
        return float(values.sum())
    try:
        return math.fsum(values.tolist())
    except OverflowError:
        return math.inf


def _counted(parts: Sequence[CategoryCounts], column: str) -> CategoryCounts:
    if len(parts) == 1:
        return parts[0]
    missing = sum(part.missing for part in parts)
    kinds = {part.kind for part in parts if not pa.types.is_null(part.kind)}
    if len(kinds) > 1:
        raise DataError(
            f"The categorical column {column!r} has different types in different rows.",
            where=f"column {column}",
            found=" and ".join(sorted(map(str, kinds))),
            allowed="all integers or all text",
            fix="cast the column",
        )
    if not kinds:
        return CategoryCounts(_counts_table(pa.nulls(0), pa.array([], pa.int64())), missing)
    tables = pa.concat_tables(part.table for part in parts if not pa.types.is_null(part.kind))
    return CategoryCounts(_summed(tables), missing)


def _summed(table: pa.Table) -> pa.Table:
    """Each value once."""
    last = [("last", "max")] if "last" in table.column_names else []
    summed = table.group_by("value").aggregate([("count", "sum"), *last])
    counts = _counts_table(summed["value"], summed["count_sum"])
    return _by_value(counts.append_column("last", summed["last_max"]) if last else counts)


def _counts_table(values: Any, counts: Any) -> pa.Table:
    return pa.table({"value": values, "count": counts})


def _by_value(table: pa.Table) -> pa.Table:
    return table.take(pc.sort_indices(table["value"])).combine_chunks()


def _with_metadata(table: pa.Table, **values: int) -> pa.Table:
    return table.replace_schema_metadata({_METADATA: json.dumps(values).encode()})


def _metadata(table: pa.Table) -> dict[str, int]:
    found: dict[str, int] = json.loads(table.schema.metadata[_METADATA])
    return found
