"""The true probabilities of simulated data, beside the predictions, to say how much of the attainable was reached."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.dataset as ds

from mtl_ray.errors import DataError


def with_truth(predictions: pa.Table, truth: str, keys: Sequence[str], tasks: Sequence[str]) -> pa.Table:
    """`predictions`, by row_id, with a column `<task>__truth` (float64) for every task that the truth table knows.

    Args:
        predictions: one row a spine row, with the join keys and event_timestamp.
        truth: Parquet file or folder with join keys, event_timestamp and one column of probabilities a task.
        keys: join keys; with event_timestamp they must be unique in the truth table.
        tasks: names of the tasks.

    Raises:
        DataError: the truth table is absent, has no such columns, has a key twice or misses a row.
    """
    try:
        table = ds.dataset(truth, format="parquet").to_table()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(
            "The table of true probabilities cannot be read.",
            where=f"evaluation.truth: {truth}",
            found=str(error),
            fix="write it with jobs/prepare.py, or set evaluation.truth=null",
        ) from error
    on = [*keys, "event_timestamp"]
    known = [task for task in tasks if task in table.column_names]
    missing = [column for column in on if column not in table.column_names]
    if missing or not known:
        raise DataError(
            "The table of true probabilities lacks columns.",
            where=f"evaluation.truth: {truth}",
            found=", ".join(table.column_names),
            allowed=f"{', '.join(on)} and at least one of {', '.join(tasks)}",
        )
    table = table.select([*on, *known]).rename_columns([*on, *(f"{task}__truth" for task in known)])
    table = table.cast(
        pa.schema([predictions.schema.field(n) if n in on else table.schema.field(n) for n in table.column_names])
    )
    # Arrow joins no nested columns, so only the keys are joined, and the probabilities set beside the predictions.
    joined = predictions.select([*on, "row_id"]).join(table, keys=on, join_type="left outer").sort_by("row_id")
    if joined.num_rows != predictions.num_rows:
        raise DataError(
            "The table of true probabilities has a key more than once.",
            where=f"evaluation.truth: {truth}",
            found=f"{joined.num_rows - predictions.num_rows} rows too many",
            allowed=f"one row for each {', '.join(on)}",
        )
    absent = max(joined.column(f"{task}__truth").null_count for task in known)
    if absent:
        raise DataError(
            "The table of true probabilities misses rows of the spine.",
            where=f"evaluation.truth: {truth}",
            found=f"{absent} rows without a probability",
            fix="prepare spine and truth together, or set evaluation.truth=null",
        )
    predictions = predictions.sort_by("row_id")
    for task in known:
        predictions = predictions.append_column(f"{task}__truth", joined.column(f"{task}__truth"))
    return predictions
