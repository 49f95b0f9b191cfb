"""Writing a data set: Parquet feature tables and spine, whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mtl_ray.errors import StorageError

TIMESTAMP = pa.timestamp("us", tz="UTC")
"""Microseconds: nanoseconds break `feast materialize` on duckdb, and mixed units make every join engine raise."""

SUMMARY = "dataset.json"
"""Written last; a folder without it is not a data set."""


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A new folder beside `out` that takes the name `out` when the block ends well and vanishes when it does not.

    A data set that was at `out` before is replaced; anything else there is refused with StorageError, and so is a
    path that cannot be written.
    """
    out = Path(out).absolute()
    if out.exists() and not out.is_dir():
        raise StorageError("the data set cannot be written: a file has this name", where=str(out), allowed="a folder")
    try:
        if out.exists() and any(out.iterdir()) and not (out / SUMMARY).is_file():
            raise StorageError(
                "the folder holds something that is not a data set",
                where=str(out),
                found=f"no {SUMMARY} in it",
                allowed="a new or empty folder, or one written by prepare",
                fix="choose another folder or empty this one",
            )
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        # mkdtemp makes a folder for its owner alone; a data set is as readable as its surroundings.
        folder.chmod(0o755)
        contents = folder / out.name
        contents.mkdir()
        yield contents
        if out.exists():
            out.rename(folder / f"replaced-{out.name}")
        contents.rename(out)
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_table(table: pa.Table, path: Path) -> None:
    """Writes one Parquet file, making its folder; the same table gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")


def write_summary(summary: dict[str, Any], folder: Path) -> None:
    """Writes `dataset.json`; NaN is refused, since it is not JSON."""
    text = json.dumps(summary, indent=2, sort_keys=True, allow_nan=False)
    (folder / SUMMARY).write_text(text + "\n", encoding="utf-8")


def timestamps(microseconds: NDArray[np.int64]) -> pa.Array:
    """int64 microseconds since the Unix epoch as timestamp[us, UTC]."""
    return pa.array(np.asarray(microseconds, dtype=np.int64)).cast(TIMESTAMP)


def nullable(
    values: NDArray[Any], missing: NDArray[np.bool_] | None = None, dtype: pa.DataType | None = None
) -> pa.Array:
    """`values` with null where `missing` (default: where NaN), cast to `dtype`."""
    if missing is None:
        missing = np.isnan(values)
    array = pa.array(np.where(missing, np.zeros(1, dtype=values.dtype), values), mask=missing)
    return array if dtype is None else array.cast(dtype)


def named(codes: NDArray[np.int64], names: tuple[str, ...], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """The name of each code as a string column, null where `missing`."""
    index = codes if missing is None else np.where(missing, 0, codes)
    indices = pa.array(index.astype(np.int32), mask=missing)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names)).cast(pa.string())


def feature_table(
    keys: dict[str, NDArray[np.int64]],
    features: dict[str, Any],
    event_timestamp: NDArray[np.int64],
    created_timestamp: NDArray[np.int64],
) -> pa.Table:
    """Join keys (int64), features (arrays), event_timestamp and created_timestamp (microseconds), in this order."""
    columns: dict[str, Any] = {name: pa.array(key.astype(np.int64)) for name, key in keys.items()}
    columns.update(features)
    columns["event_timestamp"] = timestamps(event_timestamp)
    columns["created_timestamp"] = timestamps(created_timestamp)
    return pa.table(columns)


def _unwritable(out: Path, error: OSError) -> StorageError:
    return StorageError(
        "the data set cannot be written here",
        where=str(out),
        found=f"{type(error).__name__}: {error.strerror or error}",
        allowed="a folder that can be created and written",
        fix="choose another folder with --out or mend its permissions",
    )
