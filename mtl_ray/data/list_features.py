"""List columns: how long each row's list is, and its newest L entries, padded in front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mtl_ray.data.vocabularies import Vocabulary, category_values
from mtl_ray.errors import DataError


@dataclass(frozen=True)
class ListTail:
    """The last `max_length` entries of each row, flat, and where each belongs."""

    entries: pa.Array
    """`[k]`, in the type of the lists' entries."""
    rows: np.ndarray
    """int64 `[k]`."""
    positions: np.ndarray
    """int64 `[k]`: column in the padded matrix, so that the newest entry stands last."""
    shape: tuple[int, int]
    """Rows and `max_length`."""
    missing_rows: int
    """Rows whose list is null or empty."""
    truncated_rows: int
    """Rows whose list has more than `max_length` entries."""

    def padded(self, values: np.ndarray) -> np.ndarray:
        """`values` `[k]` of the entries as `[rows, max_length]`, 0 in front."""
        matrix = np.zeros(self.shape, dtype=values.dtype)
        matrix[self.rows, self.positions] = values
        return matrix

    def ids(self, vocabulary: Vocabulary, column: str) -> np.ndarray:
        """Ids int32 `[rows, max_length]`; an entry that is null keeps its place, as MISSING_ID."""
        return self.padded(vocabulary.ids(category_values(self.entries, column), column))


def list_tail(
    values: pa.Array | pa.ChunkedArray, column: str, max_length: int, entries: str = "integers or text"
) -> ListTail:
    """The tail of each list of `values` (a list column, oldest entry first).

    Raises `DataError`, which says that lists of `entries` are asked for, where it is another column.
    """
    lists = as_lists(values, column, entries)
    length = list_lengths(lists)
    kept = np.minimum(length, max_length)
    ends = lists.offsets.to_numpy()[1:]
    owner = np.repeat(np.arange(length.size, dtype=np.int64), kept)
    firsts = np.cumsum(kept) - kept
    within = np.arange(owner.size, dtype=np.int64) - firsts[owner]
    return ListTail(
        entries=lists.values.take(pa.array((ends - kept)[owner] + within)),
        rows=owner,
        positions=max_length - kept[owner] + within,
        shape=(length.size, max_length),
        missing_rows=int(np.count_nonzero(length == 0)),
        truncated_rows=int(np.count_nonzero(length > max_length)),
    )


def as_lists(values: pa.Array | pa.ChunkedArray, column: str, entries: str) -> pa.LargeListArray:
    """`values` in one chunk, with 64-bit offsets: all training rows together may hold more than 2^31 entries.

    Raises `DataError` where the column holds no lists.
    """
    kind = values.type
    if pa.types.is_null(kind):
        kind = pa.list_(pa.null())
    elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise DataError(
            f"The column {column!r} does not hold lists.",
            where=f"column {column}",
            found=f"type {kind}",
            allowed=f"a list of {entries}",
            fix="give the feature another encoding, or write lists",
        )
    lists = values.cast(pa.large_list(kind.value_type))
    return lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists


def list_lengths(lists: pa.LargeListArray) -> np.ndarray:
    """Entries of each row, int64 `[rows]`; 0 where null, since what lies behind a null list may be anything."""
    valid = lists.is_valid().to_numpy(zero_copy_only=False)
    return np.where(valid, np.diff(lists.offsets.to_numpy()), 0)
