"""List features: the newest L values of each row, padded in front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mtl_ray.data.vocabularies import Vocabulary, category_values
from mtl_ray.errors import DataError
from mtl_ray.schema import MISSING_ID


@dataclass(frozen=True)
class ListTail:
    """The last `max_length` values of each row, flat, and where each belongs."""

    values: pa.Array
    """`category_values` `[k]`."""
    rows: np.ndarray
    """int64 `[k]`."""
    positions: np.ndarray
    """int64 `[k]`: column in the padded matrix, so that the newest value stands last."""
    shape: tuple[int, int]
    """Rows and `max_length`."""
    missing_rows: int
    """Rows whose list is null or empty."""

    def ids(self, vocabulary: Vocabulary, column: str) -> np.ndarray:
        """Ids int32 `[rows, max_length]`."""
        padded = np.full(self.shape, MISSING_ID, dtype=np.int32)
        padded[self.rows, self.positions] = vocabulary.ids(self.values, column)
        return padded


def list_tail(values: pa.Array | pa.ChunkedArray, column: str, max_length: int) -> ListTail:
    """The tail of each list of `values` (a list column, oldest value first). Raises `DataError` for another type."""
    kind = values.type
    if pa.types.is_null(kind):
        kind = pa.list_(pa.null())
    elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise DataError(
            f"The column {column!r} does not hold lists.",
            where=f"column {column}",
            found=f"type {kind}",
            allowed="a list of integers or text",
            fix="use encoding categorical or numeric",
        )
    rows = len(values)
    # 64-bit offsets: all training rows together may hold more than 2^31 values.
    values = values.cast(pa.large_list(kind.value_type))
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    offsets = values.offsets.to_numpy()
    ends = offsets[1:]
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    # The entries behind a null list may be anything: they are not looked at.
    lengths = np.where(valid, np.minimum(np.diff(offsets), max_length), 0)
    owner = np.repeat(np.arange(rows, dtype=np.int64), lengths)
    firsts = np.cumsum(lengths) - lengths
    within = np.arange(owner.size, dtype=np.int64) - firsts[owner]
    taken = values.values.take(pa.array((ends - lengths)[owner] + within))
    return ListTail(
        values=category_values(taken, column),
        rows=owner,
        positions=max_length - lengths[owner] + within,
        shape=(rows, max_length),
        missing_rows=int(np.count_nonzero(lengths == 0)),
    )
