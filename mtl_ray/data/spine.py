"""The spine: one row an example, with join keys, event_timestamp, labels and context columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mtl_ray.data.source_files import parquet_files
from mtl_ray.errors import DataError, nearest

EVENT_TIMESTAMP = "event_timestamp"
ROW_ID = "row_id"
TIMESTAMP_TYPE = pa.timestamp("us", "UTC")


def spine_files(path: str | Path) -> list[Path]:
    """The spine's Parquet files in the order that numbers its rows. Raises `DataError` where there is none."""
    files = parquet_files(path)
    if not files:
        raise DataError(
            "The spine has no Parquet file.",
            where="training_set.spine",
            found=f"{path} ({'an empty folder' if Path(path).is_dir() else 'which does not exist'})",
            allowed="a Parquet file, or a folder of them",
            fix="write the spine first (jobs/prepare.py), or correct the path",
        )
    return files


def read_spine(
    path: str | Path,
    join_keys: Sequence[str],
    labels: Sequence[str],
    context: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> pa.Table:
    """The named columns of the spine, event_timestamp as timestamp[us, UTC] and `row_id` int64 `[rows]`.

    `row_id` is the row's position over all files in the order of their names. Join keys come out as int64 or string;
    labels, context and `extra` columns (sample weight, group key) as they are. Raises `DataError` for a missing
    column, a join key that is neither integer nor text, a null key or timestamp, or a time without a time zone.
    """
    files = spine_files(path)
    wanted = list(dict.fromkeys([*join_keys, EVENT_TIMESTAMP, *labels, *context, *extra]))
    kinds = dict.fromkeys(extra, "column")
    kinds |= dict.fromkeys(context, "context column")
    kinds |= dict.fromkeys(labels, "label column")
    kinds |= dict.fromkeys(join_keys, "join key")
    tables = []
    for file in files:
        _check_columns(file, wanted, kinds)
        tables.append(pq.read_table(file, columns=wanted, partitioning=None))
    table = _concatenate(tables, files)
    if table.num_rows == 0:
        raise DataError("The spine has no rows.", where="training_set.spine", found=str(path))
    for key in join_keys:
        table = table.set_column(table.column_names.index(key), key, key_values(table[key], key, "join key"))
    position = table.column_names.index(EVENT_TIMESTAMP)
    table = table.set_column(position, EVENT_TIMESTAMP, _event_timestamp(table[EVENT_TIMESTAMP]))
    if ROW_ID in table.column_names:
        raise DataError(
            f"The column name {ROW_ID!r} is taken: it holds the row's position.",
            where=f"spine {path}",
            fix="rename the column in the spine",
        )
    return table.append_column(ROW_ID, pa.array(np.arange(table.num_rows, dtype=np.int64)))


def _check_columns(file: Path, wanted: Sequence[str], kinds: dict[str, str]) -> None:
    try:
        present = pq.read_schema(file).names
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            "A file of the spine cannot be read as Parquet.", where=str(file), found=str(error).splitlines()[0]
        ) from error
    for column in wanted:
        if column not in present:
            guess = nearest(column, present)
            raise DataError(
                f"The spine has no {kinds.get(column, 'column')} {column!r}.",
                where=str(file),
                found=f"columns {', '.join(present)}",
                fix=f"did you mean {guess!r}?" if guess else "add the column to the spine, or correct its name",
            )


def _concatenate(tables: list[pa.Table], files: list[Path]) -> pa.Table:
    for table, file in zip(tables, files, strict=True):
        for field, first in zip(table.schema, tables[0].schema, strict=True):
            both = {field.type, first.type}
            if len(both) > 1 and pa.null() not in both:
                raise DataError(
                    f"The column {field.name!r} has different types in two files of the spine.",
                    where=str(file),
                    found=f"{field.type}, but {first.type} in {files[0]}",
                    fix="write all files with one schema",
                )
    return pa.concat_tables([table.replace_schema_metadata() for table in tables], promote_options="default")


def key_values(values: pa.ChunkedArray, name: str, kind: str) -> pa.ChunkedArray:
    """The key column `name` as int64 or string; `kind` says which key it is, such as `join key`.

    Raises `DataError` where a value is null, the type is neither integer nor text, or an integer passes int64.
    """
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    _refuse_nulls(values, f"{kind} {name!r}")
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values.cast(pa.string())
    if not pa.types.is_integer(values.type):
        raise DataError(
            f"The {kind} {name!r} is neither an integer nor text.",
            where=f"spine column {name}",
            found=f"type {values.type}",
            allowed="an integer type or string",
            fix="cast the column in the spine (a float loses ids above 2^53)",
        )
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise DataError(
            f"The {kind} {name!r} does not fit into 64 bits with a sign.",
            where=f"spine column {name}",
            found=f"type {values.type}, largest value {pc.max(values).as_py()}",
            allowed=f"at most {2**63 - 1}",
            fix="reinterpret the ids as int64, or write them as text, in spine and feature tables alike",
        ) from error


def _event_timestamp(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_timestamp(values.type) or values.type.tz is None:
        raise DataError(
            f"The spine's {EVENT_TIMESTAMP} has no time zone.",
            where=f"spine column {EVENT_TIMESTAMP}",
            found=f"type {values.type}",
            allowed="timestamp with a time zone, such as timestamp[us, tz=UTC]",
            fix=f"in pandas: frame['{EVENT_TIMESTAMP}'].dt.tz_localize('UTC'), or the zone that the times are in",
        )
    _refuse_nulls(values, EVENT_TIMESTAMP)
    # safe=False: nanoseconds are cut to microseconds, the unit of every feature table.
    return values.cast(TIMESTAMP_TYPE, safe=False)


def _refuse_nulls(values: pa.ChunkedArray, what: str) -> None:
    if values.null_count == 0:
        return
    rows = np.flatnonzero(pc.is_null(values).to_numpy())
    shown = ", ".join(str(row) for row in rows[:5])
    raise DataError(
        f"The spine's {what} is null in {rows.size} of {len(values)} rows.",
        where=f"spine rows {shown}{', ...' if rows.size > 5 else ''}",
        allowed="a value in every row",
        fix="leave these rows out of the spine, or fill in the value",
    )
