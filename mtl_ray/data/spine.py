"""The spine: one row an example, with join keys, event_timestamp, labels and context columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mtl_ray.data.join.parquet_rows import ParquetRows, chunk_ranges, files_of
from mtl_ray.errors import DataError, nearest
from mtl_ray.storage import check_bucket, told

EVENT_TIMESTAMP = "event_timestamp"
ROW_ID = "row_id"
TIMESTAMP_TYPE = pa.timestamp("us", "UTC")

SCAN_ROWS = 1 << 17


def row_name(table: pa.Table, position: int) -> str:
    """The row of `table` at `position`, for people: by its `row_id` where it has one."""
    if ROW_ID in table.column_names:
        return f"spine row {table[ROW_ID][position].as_py()}"
    return f"row {position}"


@dataclass(frozen=True)
class Spine:
    """The spine's rows with keys and times in one form each; picklable, and read a part at a time.

    Join keys are int64 or string, event_timestamp is timestamp[us, UTC], `row_id` int64 is `first_id` plus the row's
    position over all files in the order of their names. Nulls are still there.
    """

    rows: ParquetRows
    keys: tuple[str, ...]
    """Columns that are keys: join keys, and the key that metrics group by."""
    columns: tuple[str, ...]
    """Everything that is used of the spine but `row_id`."""
    first_id: int = 0

    @property
    def num_rows(self) -> int:
        """Rows of all files."""
        return self.rows.num_rows

    @property
    def schema(self) -> pa.Schema:
        """Of what `read` returns for all columns."""
        return self.read(0, 0, (*self.columns, ROW_ID)).schema

    def read(self, begin: int, end: int, columns: Sequence[str]) -> pa.Table:
        """Rows [begin, end) of `columns`, which may include `row_id`.

        Raises `DataError` for an integer key that does not fit into int64.
        """
        table = self.rows.read(begin, end, [name for name in columns if name != ROW_ID])
        for name in table.column_names:
            if name in self.keys:
                table = table.set_column(table.column_names.index(name), name, _key_values(table[name], name))
            elif name == EVENT_TIMESTAMP:
                # safe=False: nanoseconds are cut to microseconds, the unit of every feature table.
                times = table[name].cast(TIMESTAMP_TYPE, safe=False)
                table = table.set_column(table.column_names.index(name), name, times)
        if ROW_ID in columns:
            ids = np.arange(begin + self.first_id, end + self.first_id, dtype=np.int64)
            table = table.append_column(ROW_ID, pa.array(ids))
        return table.select(list(columns))

    def scan(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """All rows that have a time, in order, with `columns`, event_timestamp and `row_id`, a part at a time."""
        wanted = tuple(dict.fromkeys([*columns, EVENT_TIMESTAMP, ROW_ID]))
        for begin, end in chunk_ranges(self.num_rows, SCAN_ROWS):
            table = self.read(begin, end, wanted)
            yield table.filter(pc.is_valid(table[EVENT_TIMESTAMP]))

    def bytes_per_row(self, columns: Sequence[str]) -> float:
        """Bytes in memory of one row of `columns`."""
        return self.rows.bytes_per_row([name for name in columns if name != ROW_ID]) + 8


def spine_files(path: str | Path) -> list[str]:
    """The spine's Parquet files, remote ones as URIs, in the order that numbers its rows.

    Raises `DataError` where there is none and `StorageError` where an object store refuses or has no such bucket.
    """
    try:
        files = files_of(path)
    except OSError as error:
        raise told(str(path), error) from error
    if not files:
        check_bucket(str(path))
        raise DataError(
            "The spine has no Parquet file.",
            where="training_set.spine",
            found=f"{path} ({'an empty folder' if Path(path).is_dir() else 'which does not exist'})",
            allowed="a Parquet file, or a folder of them",
            fix="write the spine first (jobs/prepare.py), or correct the path",
        )
    return files


def open_spine(
    path: str | Path,
    join_keys: Sequence[str],
    labels: Sequence[str],
    context: Sequence[str] = (),
    extra: Sequence[str] = (),
    group_by: str | None = None,
) -> Spine:
    """The named columns of the spine, checked by name and type without reading a row.

    `extra`: other columns that are wanted as they are (sample weight, split column); `group_by`: a key that metrics
    group by. Raises `DataError` for a missing column, a key that is neither integer nor text, a time without a time
    zone, files whose types differ, or a spine without rows.
    """
    files = spine_files(path)
    named = [group_by] if group_by is not None else []
    wanted = tuple(dict.fromkeys([*join_keys, EVENT_TIMESTAMP, *labels, *context, *extra, *named]))
    kinds = dict.fromkeys([*extra, *named], "column")
    kinds |= dict.fromkeys(context, "context column")
    kinds |= dict.fromkeys(labels, "label column")
    kinds |= dict.fromkeys(join_keys, "join key")
    schemas = [_checked_schema(file, wanted, kinds) for file in files]
    _check_same_types(schemas, files)
    if ROW_ID in wanted:
        raise DataError(
            f"The column name {ROW_ID!r} is taken: it holds the row's position.",
            where=f"spine {path}",
            fix="rename the column in the spine",
        )
    rows = ParquetRows.of(path)
    if rows.num_rows == 0:
        raise DataError("The spine has no rows.", where="training_set.spine", found=str(path))
    for name in join_keys:
        _check_key_type(rows.schema.field(name).type, name, "join key")
    if group_by is not None:
        _check_key_type(rows.schema.field(group_by).type, group_by, "group key (evaluation.group_by)")
    _check_time_type(rows.schema.field(EVENT_TIMESTAMP).type)
    return Spine(rows, tuple(dict.fromkeys([*join_keys, *named])), wanted)


def spine_schema(path: str | Path) -> pa.Schema:
    """All columns of the spine's first file. Raises `DataError` where there is none, or it cannot be read."""
    return _file_schema(spine_files(path)[0])


def _file_schema(file: str) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            "A file of the spine cannot be read as Parquet.", where=str(file), found=str(error).splitlines()[0]
        ) from error


def _checked_schema(file: str, wanted: Sequence[str], kinds: dict[str, str]) -> pa.Schema:
    """The wanted part of the file's schema."""
    schema = _file_schema(file)
    for column in wanted:
        if column not in schema.names:
            guess = nearest(column, schema.names)
            raise DataError(
                f"The spine has no {kinds.get(column, 'column')} {column!r}.",
                where=str(file),
                found=f"columns {', '.join(schema.names)}",
                fix=f"did you mean {guess!r}?" if guess else "add the column to the spine, or correct its name",
            )
        if schema.names.count(column) > 1:
            raise DataError(
                f"The spine has {schema.names.count(column)} columns named {column!r}.",
                where=str(file),
                found=f"columns {', '.join(schema.names)}",
                fix="rename or drop all but one",
            )
    return pa.schema([schema.field(column) for column in wanted])


def _check_same_types(schemas: Sequence[pa.Schema], files: Sequence[str]) -> None:
    for schema, file in zip(schemas, files, strict=True):
        for field, first in zip(schema, schemas[0], strict=True):
            both = {field.type, first.type}
            if len(both) > 1 and pa.null() not in both:
                raise DataError(
                    f"The column {field.name!r} has different types in two files of the spine.",
                    where=str(file),
                    found=f"{field.type}, but {first.type} in {files[0]}",
                    fix="write all files with one schema",
                )


def _check_key_type(kind: pa.DataType, name: str, what: str) -> None:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_integer(inner) or pa.types.is_null(inner) or _is_text(inner):
        return
    raise DataError(
        f"The {what} {name!r} is neither an integer nor text.",
        where=f"spine column {name}",
        found=f"type {kind}",
        allowed="an integer type or string",
        fix="cast the column in the spine (a float loses ids above 2^53)",
    )


def _check_time_type(kind: pa.DataType) -> None:
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return
    raise DataError(
        f"The spine's {EVENT_TIMESTAMP} has no time zone.",
        where=f"spine column {EVENT_TIMESTAMP}",
        found=f"type {kind}",
        allowed="timestamp with a time zone, such as timestamp[us, tz=UTC]",
        fix=f"in pandas: frame['{EVENT_TIMESTAMP}'].dt.tz_localize('UTC'), or the zone that the times are in",
    )


def _key_values(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A key column as int64 or string, null where missing."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if _is_text(values.type):
        return values.cast(pa.string())
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise DataError(
            f"The key {name!r} does not fit into 64 bits with a sign.",
            where=f"spine column {name}",
            found=f"type {values.type}, largest value {pc.max(values).as_py()}",
            allowed=f"at most {2**63 - 1}",
            fix="reinterpret the ids as int64, or write them as text, in spine and feature tables alike",
        ) from error


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
