"""How long before a row's own time each entry of a sequence happened."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.join.views import microseconds
from mtl_ray.data.list_features import list_tail
from mtl_ray.data.spine import EVENT_TIMESTAMP, row_name
from mtl_ray.errors import DataError

_SECOND = 1_000_000
"""Microseconds."""

_LAST_SECOND = (2**63 - 1) // _SECOND


def entry_ages(table: pa.Table, column: str, max_length: int, *, admit_future: bool = False) -> np.ndarray:
    """Seconds from the newest entries of `column` to the row's event_timestamp, float32 `[rows, max_length]`, >= 0.

    The newest entry stands last, in front of the oldest stand zeros. Entries are timestamps (without a time zone they
    are UTC) or integers (seconds since 1970). They count in whole seconds, which is what Feast's online stores keep of
    a time. The order of a list is the source's.

    Raises `DataError` for an entry that is null or later than its row, unless `admit_future` gives such an entry age 0:
    a join of latest values leaks, and measuring that is its purpose.
    """
    tail = list_tail(table[column], column, max_length, "timestamps, or of integers: seconds since 1970")
    entries = _entry_times(tail.entries, tail.rows, table, column)
    now = _row_times(table)[tail.rows]
    if not admit_future:
        late = np.flatnonzero(entries > now)
        if late.size:
            first = int(late[0])
            raise DataError(
                f"The sequence times {column!r} hold an entry from after the row's own time: the future leaks.",
                where=f"{row_name(table, int(tail.rows[first]))}, feature {column}",
                found=f"an entry of {_text(entries[first])} in a row of {_text(now[first])}, "
                f"and {np.unique(tail.rows[late]).size - 1} more rows near it",
                allowed=f"times up to the row's {EVENT_TIMESTAMP}",
                fix="stamp the feature rows with the time at which all of their entries were known",
            )
    age = np.maximum(now - entries // _SECOND * _SECOND, 0) / _SECOND
    return tail.padded(age.astype(np.float32))


def _entry_times(entries: pa.Array, rows: np.ndarray, table: pa.Table, column: str) -> np.ndarray:
    """int64 microseconds `[k]`."""
    if entries.null_count:
        row = int(rows[np.flatnonzero(entries.is_null().to_numpy(zero_copy_only=False))[0]])
        raise DataError(
            f"The sequence times {column!r} hold an entry without a time.",
            where=f"{row_name(table, row)}, feature {column}",
            found="null",
            fix="leave the entry out of all lists of the sequence, or write the latest time that it can have had",
        )
    kind = entries.type
    if pa.types.is_null(kind):
        return np.zeros(0, dtype=np.int64)
    if pa.types.is_timestamp(kind):
        return np.asarray(microseconds(entries), dtype=np.int64)
    if not pa.types.is_integer(kind):
        raise DataError(
            f"The sequence times {column!r} hold no times.",
            where=f"column {column}",
            found=f"a list of {kind}",
            allowed="a list of timestamps, or of integers: seconds since 1970",
            fix="write the column as list<timestamp[us, tz=UTC]>",
        )
    seconds = np.asarray(entries.cast(pa.int64()), dtype=np.int64)
    beyond = np.flatnonzero(np.abs(seconds) > _LAST_SECOND)
    if beyond.size:
        first = int(beyond[0])
        raise DataError(
            f"The sequence times {column!r} hold an integer that is no number of seconds since 1970.",
            where=f"{row_name(table, int(rows[first]))}, feature {column}",
            found=str(seconds[first]),
            fix="write seconds, not milli- or microseconds",
        )
    return seconds * _SECOND


def _row_times(table: pa.Table) -> np.ndarray:
    """int64 microseconds `[rows]`."""
    times = table[EVENT_TIMESTAMP]
    if not pa.types.is_timestamp(times.type) or times.null_count:
        raise DataError(
            f"The ages of a sequence's entries need an {EVENT_TIMESTAMP} in each row.",
            where=f"column {EVENT_TIMESTAMP}",
            found=f"{times.null_count} nulls" if pa.types.is_timestamp(times.type) else f"type {times.type}",
            allowed="timestamps",
        )
    return np.asarray(pc.fill_null(microseconds(times), 0), dtype=np.int64)


def _text(time: np.int64) -> str:
    return f"{np.datetime64(int(time), 'us')}Z"
