"""Draws that depend on a row's id or value and a seed alone, so that neither the order nor the cut of the rows counts.

Numbers go through SplitMix64 (Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators, figure 14,
with Stafford's variant 13 of the finaliser), a bijection: two row ids never draw the same. Text goes first through
SipHash-2-4 with a fixed key (`pandas.util.hash_array`). Both are fixed algorithms, unlike the hashes of Python,
polars or DuckDB, which change from version to version.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.spine import ROW_ID
from mtl_ray.errors import DataError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)

ABOVE_ALL = 2**64 - 1
"""Larger than every hash."""


def stream_key(purpose: str, seed: int) -> int:
    """Start of the stream of draws for `purpose`: equal seeds for two purposes draw independently."""
    return int.from_bytes(hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=8).digest(), "little")


def hashes(values: np.ndarray, key: int) -> np.ndarray:
    """Hash of each of `values` (int64 or uint64 `[n]`) in the stream `key`, uint64 `[n]` below ABOVE_ALL."""
    mixed = values.astype(np.uint64)
    mixed *= _GOLDEN
    mixed += np.uint64((key + int(_GOLDEN)) % 2**64)
    mixed ^= mixed >> np.uint64(30)
    mixed *= _FIRST
    mixed ^= mixed >> np.uint64(27)
    mixed *= _SECOND
    mixed ^= mixed >> np.uint64(31)
    return np.minimum(mixed, np.uint64(ABOVE_ALL - 1), out=mixed)


def uniform(values: np.ndarray, key: int) -> np.ndarray:
    """A draw from [0, 1) for each of `values`, float64 `[n]`."""
    return (hashes(values, key) >> np.uint64(11)) * 2.0**-53


def row_hashes(rows: pa.Table, key: int) -> np.ndarray:
    """Hash of each row's row_id, uint64 `[rows]`."""
    return hashes(np.asarray(rows[ROW_ID]), key)


def group_hashes(rows: pa.Table, column: str, key: int) -> np.ndarray:
    """Hash of each row's value in `column`, uint64 `[rows]`: equal for equal values.

    Raises `DataError` for a null, and for values that are neither integers nor text.
    """
    values = rows[column]
    if values.null_count:
        null = np.asarray(rows[ROW_ID].filter(pc.is_null(values)))
        shown = ", ".join(str(row) for row in null[:5])
        raise DataError(
            f"The group column {column!r} is null in {null.size} or more rows.",
            where=f"training_set.split.column; spine rows {shown}{', ...' if null.size > 5 else ''}",
            allowed="a value in every row: a row without a group cannot be kept with its group",
            fix="leave these rows out of the spine, fill in the value, or split by another column",
        )
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_integer(values.type):
        return hashes(np.asarray(values), key)
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise DataError(
            f"The group column {column!r} is neither an integer nor text.",
            where="training_set.split.column",
            found=f"type {values.type}",
            allowed="an integer type or string",
            fix="cast the column in the spine, or split by another one",
        )
    coded = values.cast(pa.large_string()).combine_chunks().dictionary_encode()
    text = np.asarray(coded.dictionary.to_pandas(), dtype=object)
    return hashes(pd.util.hash_array(text, categorize=False), key)[np.asarray(coded.indices)]
