"""One task's columns of a predictions table as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.errors import DataError
from mtl_ray.metrics.metric import Array, IntArray

_FIX = "predict the split again with this version: python jobs/evaluate.py --run RUN"


@dataclass(frozen=True)
class TaskColumns:
    """The n rows of a split in which one task's label is observed."""

    prediction: Array
    """`[n]` or `[n, C]`, in the dtype in which it was written."""
    label: Array
    """float64 `[n]`."""
    truth: Array | None
    """True probability, float64 `[n]`, where the data were simulated."""
    group: IntArray | None
    """Number of the row's group, `[n]`."""


def task_columns(predictions: pa.Table, task: str, group: IntArray | None) -> TaskColumns:
    """The observed rows of `task`; `group [rows]` numbers the groups of all rows.

    Raises DataError for a column that is absent, of another type, or null in an observed row.
    """
    observed = _column(predictions, f"{task}__observed")
    if not pa.types.is_boolean(observed.type) or observed.null_count:
        raise DataError(
            "The predictions table does not say which labels are observed.",
            where=f"column {task}__observed",
            found=f"{observed.type}, {observed.null_count} nulls",
            allowed="bool without nulls",
            fix=_FIX,
        )
    truth_name = f"{task}__truth"
    truth = _numbers(predictions, truth_name, observed) if truth_name in predictions.column_names else None
    kept = observed.to_numpy()
    return TaskColumns(
        prediction=_numbers(predictions, f"{task}__prediction", observed),
        label=_numbers(predictions, f"{task}__label", observed).astype(np.float64),
        truth=None if truth is None else truth.astype(np.float64),
        group=None if group is None else group[kept],
    )


def group_numbers(predictions: pa.Table, column: str) -> tuple[IntArray, int]:
    """A number for the group of each row, `[rows]`, and how many groups there are.

    Raises DataError for a column that is absent or has nulls.
    """
    values = _column(predictions, column).combine_chunks()
    if values.null_count:
        raise DataError(
            "A row without a group cannot be ranked within it.",
            where=f"column {column} of the predictions table",
            found=f"{values.null_count} nulls",
            allowed="no nulls",
            fix="evaluation.group_by names a join key of the spine",
        )
    encoded = pc.dictionary_encode(values)
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def _column(predictions: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in predictions.column_names:
        raise DataError(
            "The predictions table lacks a column.",
            where=f"column {name}",
            found=", ".join(predictions.column_names),
            fix=_FIX,
        )
    return predictions.column(name)


def _numbers(predictions: pa.Table, name: str, observed: pa.ChunkedArray) -> Array:
    column = _column(predictions, name).filter(observed)
    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not pa.types.is_floating(kind.value_type if lists else kind) or column.null_count:
        raise DataError(
            "The predictions table has a column that cannot be evaluated.",
            where=f"column {name}",
            found=f"{kind}, {column.null_count} nulls where observed",
            allowed="floating point numbers (lists of them for classes), no nulls where observed",
            fix=_FIX,
        )
    if not lists:
        return _finite(np.asarray(column.to_numpy()), name)
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) > 1:
        raise DataError(
            "The rows have different numbers of class probabilities.",
            where=f"column {name}",
            found=lengths,
            fix=_FIX,
        )
    width = kind.list_size if pa.types.is_fixed_size_list(kind) else (lengths[0] if lengths else 0)
    return _finite(np.asarray(pc.list_flatten(column).to_numpy()).reshape(len(column), width), name)


def _finite(values: Array, name: str) -> Array:
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise DataError(
            "The predictions table has values that are not finite where a label is observed.",
            where=f"column {name}",
            found=f"{bad} of {values.size} values",
            fix="a model that diverged predicts them: look at the run's loss, lower the learning rate",
        )
    return values
