"""Precomputed vectors, such as embeddings of a text or an image: one size a feature, zeros where missing.

A row has no vector where the column is null or empty, or where an entry of it is null, NaN or infinite (in float32):
half a vector is none, as a number that is not finite is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mtl_ray.data.list_features import as_lists, list_lengths
from mtl_ray.data.spine import row_name
from mtl_ray.errors import DataError
from mtl_ray.schema import Settings


@dataclass(frozen=True)
class VectorColumn:
    """The vectors of a column, flat."""

    entries: np.ndarray
    """float32 `[k]`: of all rows, one after the other, the broken vectors' too."""
    lengths: np.ndarray
    """int64 `[rows]`: entries of each row, of which there is none where it is null."""
    present: np.ndarray
    """bool `[rows]`."""

    @classmethod
    def of(cls, values: pa.Array | pa.ChunkedArray, column: str) -> VectorColumn:
        """Raises `DataError` where the column holds no lists of numbers."""
        lists = as_lists(values, column, "numbers")
        lengths = list_lengths(lists)
        kind = lists.type.value_type
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        if not number and not pa.types.is_null(kind):
            raise DataError(
                f"The column {column!r} does not hold vectors.",
                where=f"column {column}",
                found=f"a list of {kind}",
                allowed="a list of numbers",
                fix="use encoding list for ids, or write the column as list<float>",
            )
        entries = np.asarray(lists.flatten().cast(pa.float32(), safe=False).fill_null(np.nan), dtype=np.float32)
        broken = np.zeros(lengths.size, dtype=bool)
        bad = ~np.isfinite(entries)
        if bad.any():
            broken[np.repeat(np.arange(lengths.size), lengths)[bad]] = True
        return cls(entries, lengths, (lengths > 0) & ~broken)

    @property
    def missing_rows(self) -> int:
        """Rows without a vector."""
        return int(np.count_nonzero(~self.present))

    def first_of_other_size(self, size: int) -> int | None:
        """The first row whose vector has not `size` entries; None where all have."""
        other = np.flatnonzero(self.present & (self.lengths != size))
        return int(other[0]) if other.size else None

    def matrix(self, size: int) -> np.ndarray:
        """float32 `[rows, size]`, for vectors that all have this size."""
        found = np.zeros((self.lengths.size, size), dtype=np.float32)
        if self.present.any():
            taken = np.repeat(self.present, self.lengths)
            found[self.present] = self.entries[taken].reshape(-1, size)
        return found


class VectorSize(Settings):
    """The size of a feature's vectors in some rows."""

    size: int
    row: str
    """The first row that has one."""


def vector_size(table: pa.Table, column: str) -> tuple[VectorSize | None, int]:
    """The size of the vectors of `column` (None: there is none), and the number of rows without one.

    Raises `DataError` where they differ in size.
    """
    vectors = VectorColumn.of(table[column], column)
    rows = np.flatnonzero(vectors.present)
    if not rows.size:
        return None, vectors.missing_rows
    size = int(vectors.lengths[rows[0]])
    other = vectors.first_of_other_size(size)
    if other is not None:
        raise _other_size(column, row_name(table, other), int(vectors.lengths[other]), size)
    return VectorSize(size=size, row=row_name(table, int(rows[0]))), vectors.missing_rows


def one_size(column: str, sizes: Sequence[VectorSize | None]) -> VectorSize | None:
    """The size in all rows, from those in parts of them. Raises `DataError` where they differ."""
    known = [size for size in sizes if size is not None]
    for size in known[1:]:
        if size.size != known[0].size:
            raise _other_size(column, size.row, size.size, known[0].size)
    return known[0] if known else None


def fitted_size(size: VectorSize | None, column: str, rows: int) -> int:
    """The size that the training part gives. Raises `DataError` where none of its `rows` has a vector."""
    if size is None:
        raise DataError(
            f"No training row has a vector of {column!r}, so that its size is unknown.",
            where=f"feature {column}",
            found=f"null, empty or not finite in all of {rows:,} rows",
            allowed="a vector in at least one training row",
            fix="complete the source, or leave the feature out of the service",
        )
    return size.size


def vector_matrix(table: pa.Table, column: str, size: int) -> np.ndarray:
    """The vectors of `column`, float32 `[rows, size]`, zeros where missing. Raises `DataError` for another size."""
    vectors = VectorColumn.of(table[column], column)
    row = vectors.first_of_other_size(size)
    if row is not None:
        raise _other_size(column, row_name(table, row), int(vectors.lengths[row]), size)
    return vectors.matrix(size)


def _other_size(column: str, row: str, found: int, wanted: int) -> DataError:
    return DataError(
        f"The vectors of {column!r} have different sizes.",
        where=f"{row}, feature {column}",
        found=f"{found} numbers",
        allowed=f"{wanted}, as in the rows before",
        fix="write vectors of one model alone, or two features with views of their own",
    )
