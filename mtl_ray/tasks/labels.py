"""Reading a label column: its type, and the first value that is not allowed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.errors import DataError


def decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """`values` without dictionary encoding."""
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def is_text(values: pa.ChunkedArray) -> bool:
    """Whether the values are strings, or NULLs alone."""
    kind = values.type
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(test(kind) for test in tests)


def numbers(values: pa.ChunkedArray, column: str, allowed: str) -> tuple[np.ndarray, np.ndarray]:
    """`values` as float64 `[rows]` and which of them are NULL, bool `[rows]`.

    A number that is NaN stays distinct from NULL: it is a mistake upstream, not a label that was not observed.
    Raises `DataError` where the column is neither numeric nor boolean (a column of NULLs alone is fine).
    """
    values = decoded(values)
    kind = values.type
    readable = (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    )
    if not readable:
        raise DataError(
            f"The label column {column!r} does not hold numbers.",
            where=f"column {column}",
            found=f"type {kind}",
            allowed=allowed,
            fix="cast the column in the spine, or choose another task type",
        )
    # safe=False: an integer above 2^53 is rounded instead of refused here; the range check comes after.
    numeric = values.cast(pa.float64(), safe=False).to_numpy()
    return numeric, nulls(values)


def zero_or_one(values: pa.ChunkedArray, column: str, fix: str) -> np.ndarray:
    """Labels 0 and 1 (or boolean) as float32 `[rows]`, NaN where NULL. Raises `DataError` for others."""
    allowed = "0, 1, false, true; NULL where not observed"
    numeric, missing = numbers(values, column, allowed)
    refuse_first(~missing & (numeric != 0.0) & (numeric != 1.0), values, column, allowed, fix)
    return np.where(missing, np.nan, numeric).astype(np.float32)


def amounts(values: pa.ChunkedArray, column: str) -> np.ndarray:
    """Labels that are finite and at least 0, as float32 `[rows]`, NaN where NULL. Raises `DataError` for others."""
    allowed = "a finite number >= 0; NULL where not observed"
    numeric, missing = numbers(values, column, allowed)
    bad = ~missing & ~((numeric >= 0.0) & (numeric <= float(np.finfo(np.float32).max)))
    refuse_first(bad, values, column, allowed, "correct the spine, writing NULL where the label was not observed")
    return np.where(missing, np.nan, numeric).astype(np.float32)


def nulls(values: pa.ChunkedArray) -> np.ndarray:
    """Which values are NULL, bool `[rows]`."""
    mask: np.ndarray = pc.is_null(values).to_numpy()
    return mask


def refuse_first(bad: np.ndarray, values: pa.ChunkedArray, column: str, allowed: str, fix: str) -> None:
    """Raise `DataError` for the first row in which `bad`, bool `[rows]`, is true; return if there is none."""
    rows = np.flatnonzero(bad)
    if rows.size == 0:
        return
    others = f", and {rows.size - 1} more rows" if rows.size > 1 else ""
    raise DataError(
        f"The label column {column!r} holds a value outside its range.",
        where=f"column {column}, row {rows[0]}",
        found=f"{values[int(rows[0])].as_py()!r}{others}",
        allowed=allowed,
        fix=fix,
    )
