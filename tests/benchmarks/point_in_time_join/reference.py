"""The right answer, by sorting in numpy alone, and what of a side's table differs from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.benchmarks.point_in_time_join.dataset import Dataset
from tests.benchmarks.point_in_time_join.views import (
    CREATED_TIMESTAMP,
    EVENT_TIMESTAMP,
    ROW,
    SPINE_COLUMNS,
    VIEWS,
    View,
)


@dataclass(frozen=True)
class Difference:
    """A side's rows against the reference's."""

    returned: int
    lost: int
    """Spine rows that are not there."""
    duplicated: int
    """Rows more than one for a spine row, or for none."""
    wrong: int
    """Spine rows, of those returned, with a value (feature or spine column) that is not exactly the right one."""
    wrong_values: dict[str, int]
    """Column -> rows in which it is wrong, for the columns that ever are."""

    def as_figures(self) -> dict[str, object]:
        """JSON values."""
        return asdict(self)


def matched_rows(dataset: Dataset, view: View) -> np.ndarray:
    """For each spine row the row of the view's source that it must get, or -1: int64 `[rows]`.

    Spine and source are sorted together by key, time, created, the spine last at equal times; then the source row of
    a spine row is the last one before it, if the key is the same and the age at most ttl.
    """
    spine = pq.read_table(dataset.spine, columns=[*view.keys, EVENT_TIMESTAMP])
    source = pq.read_table(dataset.source(view), columns=[*view.keys, EVENT_TIMESTAMP, CREATED_TIMESTAMP])
    rows = source.num_rows
    keys = [_integers(pa.chunked_array([*source[key].chunks, *spine[key].chunks])) for key in view.keys]
    unusable = np.logical_or.reduce([missing for _, missing in keys])
    event = np.concatenate([_microseconds(source[EVENT_TIMESTAMP]), _microseconds(spine[EVENT_TIMESTAMP])])
    is_spine = np.arange(event.size) >= rows
    created = np.concatenate([_microseconds(source[CREATED_TIMESTAMP]), np.zeros(spine.num_rows, np.int64)])
    order = np.lexsort([created, is_spine, event, *(values for values, _ in keys)])
    order = order[~unusable[order]]
    positions = np.where(is_spine[order], -1, np.arange(order.size))
    last = np.maximum.accumulate(positions)
    here = np.flatnonzero(is_spine[order] & (last >= 0))
    mine, theirs = order[here], order[last[here]]
    good = np.ones(here.size, dtype=bool)
    for values, _ in keys:
        good &= values[mine] == values[theirs]
    if view.ttl_us:
        good &= event[mine] - event[theirs] <= view.ttl_us
    matched = np.full(spine.num_rows, -1, dtype=np.int64)
    matched[mine[good] - rows] = theirs[good]
    return matched


def write_reference(dataset: Dataset) -> None:
    """Keep `matched_rows` beside the data, once a data set."""
    for view in VIEWS:
        np.save(_file(dataset, view), matched_rows(dataset, view))


def _file(dataset: Dataset, view: View) -> Path:
    return dataset.folder / f"{view.name}.matched.npy"


def compare(dataset: Dataset, result: pa.Table) -> Difference:
    """`result`, in any row order, against the kept reference; types may differ as long as the values do not."""
    rows = pq.read_metadata(dataset.spine).num_rows
    if ROW not in result.column_names:
        return Difference(result.num_rows, rows, result.num_rows, 0, {})
    number, missing = _integers(result[ROW])
    known = ~missing & (number >= 0) & (number < rows)
    order = np.flatnonzero(known)
    order = order[np.argsort(number[order], kind="stable")]
    first = np.ones(order.size, dtype=bool)
    first[1:] = number[order][1:] != number[order][:-1]
    order = order[first]
    present = number[order]
    taken = pa.array(order)
    wrong = np.zeros(order.size, dtype=bool)
    wrong_values: dict[str, int] = {}

    def check(name: str, expected: pa.ChunkedArray) -> None:
        bad = np.ones(order.size, dtype=bool)
        if name in result.column_names:
            bad = _differs(result[name].take(taken), expected)
        if bad.any():
            wrong_values[name] = int(bad.sum())
            np.logical_or(wrong, bad, out=wrong)

    for name in SPINE_COLUMNS[1:]:
        check(name, pq.read_table(dataset.spine, columns=[name])[name].take(pa.array(present)))
    for view in VIEWS:
        matched = np.load(_file(dataset, view))[present]
        picked = pa.array(matched, mask=matched < 0)
        for feature in view.features:
            check(feature, pq.read_table(dataset.source(view), columns=[feature])[feature].take(picked))
    return Difference(
        returned=result.num_rows,
        lost=rows - order.size,
        duplicated=result.num_rows - order.size,
        wrong=int(wrong.sum()),
        wrong_values=wrong_values,
    )


def _differs(actual: pa.ChunkedArray, expected: pa.ChunkedArray) -> np.ndarray:
    """bool `[rows]`: null against value, or two values that are not exactly equal."""
    if actual.type != expected.type:
        if pa.types.is_floating(actual.type) and not pa.types.is_floating(expected.type):
            # pandas has no integer column with gaps: NaN is its null. An id that a float has rounded stays rounded.
            actual = pc.if_else(pc.is_nan(actual), pa.scalar(None, actual.type), actual)
        try:
            actual = actual.cast(expected.type, safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return np.ones(len(expected), dtype=bool)
    unequal = pc.fill_null(pc.not_equal(actual, expected), False)
    return np.asarray(pc.or_(pc.xor(actual.is_null(), expected.is_null()), unequal))


def _integers(values: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Values (0 for null) and where they are null."""
    return np.asarray(values.fill_null(0)).astype(np.int64), np.asarray(values.is_null())


def _microseconds(values: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(values.cast(pa.int64()))
