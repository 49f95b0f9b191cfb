"""What a user may join features to: a pandas frame, an Arrow table, Parquet files or a Ray Dataset, as rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.join.parquet_rows import ParquetRows, Rows, TableRows, chunk_ranges
from mtl_ray.data.join.views import microseconds
from mtl_ray.data.spine import EVENT_TIMESTAMP
from mtl_ray.errors import DataError

_SCANNED_ROWS = 1 << 20


def entity_rows(entities: Any, work_folder: Path) -> Rows:
    """The rows of `entities`, in order.

    A string or path means Parquet files (file, folder, glob pattern or URI). A Ray Dataset is written to Parquet in
    `work_folder` by its own workers, and not collected here. Raises `DataError` for anything else.
    """
    if isinstance(entities, pd.DataFrame):
        return TableRows(_times_parsed(_from_pandas(entities)))
    if isinstance(entities, pa.RecordBatch):
        entities = pa.Table.from_batches([entities])
    if isinstance(entities, pa.Table):
        return TableRows(_times_parsed(entities))
    if isinstance(entities, (str, Path)):
        return _parquet(entities)
    if type(entities).__module__.startswith("ray.data") and hasattr(entities, "write_parquet"):
        folder = work_folder / "entities"
        entities.write_parquet(str(folder))
        return _parquet(folder)
    raise DataError(
        "The entity frame is of no kind that the point-in-time join reads.",
        where="entity_df",
        found=type(entities).__name__,
        allowed="a pandas DataFrame, an Arrow table, the path of a Parquet file or folder, or a Ray Dataset",
    )


def entity_columns(entities: Any) -> list[str]:
    """Names of the columns of `entities`, without reading its rows."""
    if isinstance(entities, pd.DataFrame):
        return [str(name) for name in entities.columns]
    if isinstance(entities, (str, Path)):
        return list(_parquet(entities).schema.names)
    schema = entities.schema() if callable(entities.schema) else entities.schema
    return list(schema.names)


def time_column(schema: pa.Schema) -> str:
    """The column of event times: `event_timestamp`, else the only timestamp there is.

    Raises `DataError` where there is none or more than one.
    """
    if EVENT_TIMESTAMP in schema.names:
        return EVENT_TIMESTAMP
    times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    if len(times) == 1:
        return times[0]
    raise DataError(
        f"The entity frame has no column {EVENT_TIMESTAMP!r}.",
        where="entity_df",
        found=f"columns {', '.join(schema.names)}" + (f"; timestamps {', '.join(times)}" if times else ""),
        allowed=f"{EVENT_TIMESTAMP}, or exactly one timestamp column",
        fix=f"rename the column of the event times to {EVENT_TIMESTAMP}",
    )


def _from_pandas(entities: pd.DataFrame) -> pa.Table:
    try:
        return pa.Table.from_pandas(entities, preserve_index=False)
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise DataError(
            "The entity frame cannot be read.",
            where="entity_df",
            found=f"{type(error).__name__}: {'; '.join(map(str, error.args))}",
            allowed="columns of different names, each of one type",
        ) from error


def time_span(rows: Rows) -> tuple[datetime | None, datetime | None]:
    """Earliest and latest event time; None where there is none. Streams the times."""
    column = time_column(rows.schema)
    ends: list[int] = []
    for begin, end in chunk_ranges(rows.num_rows, _SCANNED_ROWS):
        found = pc.min_max(microseconds(rows.read(begin, end, [column])[column])).as_py()
        ends.extend(end for end in found.values() if end is not None)
    if not ends:
        return None, None
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + timedelta(microseconds=min(ends)), epoch + timedelta(microseconds=max(ends))


def _parquet(path: str | Path) -> ParquetRows:
    try:
        return ParquetRows.of(path)
    except (OSError, pa.ArrowInvalid) as error:
        absent = isinstance(error, FileNotFoundError)
        raise DataError(
            "The entity frame cannot be read.",
            where=f"entity_df = {str(path)[:200]}",
            found="no such Parquet file" if absent else f"{type(error).__name__}: {str(error).splitlines()[0]}",
            allowed="the path of a Parquet file, a folder of them or a glob pattern (SQL is not understood here)",
        ) from error


def _times_parsed(table: pa.Table) -> pa.Table:
    """`table` with event times that are text (as CSV files give them) read as times; Feast's other stores do so too."""
    table = table.replace_schema_metadata()
    if EVENT_TIMESTAMP not in table.column_names:
        return table
    kind = table.schema.field(EVENT_TIMESTAMP).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return table
    try:
        parsed = pd.to_datetime(table[EVENT_TIMESTAMP].to_pandas(), utc=True, format="ISO8601")
    except ValueError as error:
        raise DataError(
            f"The entity frame's {EVENT_TIMESTAMP} holds text that is no time.",
            where=f"entity_df column {EVENT_TIMESTAMP}",
            found=str(error),
            allowed="timestamps, or text such as 2026-01-31T12:00:00+00:00",
        ) from error
    position = table.column_names.index(EVENT_TIMESTAMP)
    times = pa.Array.from_pandas(parsed, type=pa.timestamp("us", "UTC"), safe=False)
    return table.set_column(position, EVENT_TIMESTAMP, times)
