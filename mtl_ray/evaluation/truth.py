"""The true probabilities of simulated data, beside the predictions, to say how much of the attainable was reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.dataset as ds

from mtl_ray.data.spine import EVENT_TIMESTAMP
from mtl_ray.errors import DataError


@dataclass(frozen=True)
class Truth:
    """A table of true probabilities that was read and checked."""

    path: str
    keys: tuple[str, ...]
    """Join keys and event_timestamp, which together name a row."""
    tasks: tuple[str, ...]
    """The tasks that it knows."""
    table: pa.Table
    """`keys` and a column `<task>__truth` (float64) for each of `tasks`."""


def read_truth(path: str, join_keys: Sequence[str], tasks: Sequence[str]) -> Truth:
    """The truth table at `path`, a Parquet file or folder: join keys, event_timestamp, one column of probabilities a
    task. Of `tasks` at least one must be there; other columns are not looked at.

    Raises DataError: the table is absent, or has no such columns.
    """
    keys = (*join_keys, EVENT_TIMESTAMP)
    try:
        table = ds.dataset(path, format="parquet").to_table()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(
            "The table of true probabilities cannot be read.",
            where=f"evaluation.truth: {path}",
            found=str(error),
            fix="write it with jobs/prepare.py, or set evaluation.truth=null",
        ) from error
    known = tuple(task for task in tasks if task in table.column_names)
    if not known or any(key not in table.column_names for key in keys):
        raise DataError(
            "The table of true probabilities lacks columns.",
            where=f"evaluation.truth: {path}",
            found=", ".join(table.column_names),
            allowed=f"{', '.join(keys)} and at least one of {', '.join(tasks)}",
        )
    columns = {key: table[key] for key in keys}
    for task in known:
        try:
            columns[f"{task}__truth"] = table[task].cast(pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(
                "The table of true probabilities holds no numbers.",
                where=f"evaluation.truth: {path}, column {task}",
                found=f"type {table[task].type}",
                allowed="probabilities",
            ) from error
    return Truth(path, keys, known, pa.table(columns))


def with_truth(predictions: pa.Table, truth: Truth) -> pa.Table:
    """`predictions` (one row a spine row, with the truth's keys), sorted by row_id, with the columns `<task>__truth`.

    Raises DataError: a key of another type, a key twice in the truth table, or a row of the predictions not in it.
    """
    where = f"evaluation.truth: {truth.path}"
    wanted = [
        predictions.schema.field(field.name) if field.name in truth.keys else field for field in truth.table.schema
    ]
    try:
        table = truth.table.cast(pa.schema(wanted))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise DataError(
            "The keys of the table of true probabilities have other types than those of the spine.",
            where=where,
            found=str(error),
            fix="prepare spine and truth together, or set evaluation.truth=null",
        ) from error
    keys = list(truth.keys)
    # Arrow joins no nested columns, so only the keys are joined, and the probabilities set beside the predictions.
    joined = predictions.select([*keys, "row_id"]).join(table, keys=keys, join_type="left outer").sort_by("row_id")
    if joined.num_rows != predictions.num_rows:
        raise DataError(
            "The table of true probabilities has a key more than once.",
            where=where,
            found=f"{joined.num_rows - predictions.num_rows} rows too many",
            allowed=f"one row for each {', '.join(keys)}",
        )
    absent = max(joined.column(f"{task}__truth").null_count for task in truth.tasks)
    if absent:
        raise DataError(
            "The table of true probabilities misses rows of the spine.",
            where=where,
            found=f"{absent} rows without a probability",
            fix="prepare spine and truth together, or set evaluation.truth=null",
        )
    predictions = predictions.sort_by("row_id")
    for task in truth.tasks:
        predictions = predictions.append_column(f"{task}__truth", joined.column(f"{task}__truth"))
    return predictions
