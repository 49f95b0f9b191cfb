"""Columns that tasks read beside their labels, such as a duration or a weight: spine columns or raw features.

They reach the loss as they are, one packed column in the shards; the model does not see them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from mtl_ray.data.labels import Labels
from mtl_ray.data.numeric_transforms import numeric_values
from mtl_ray.data.service_spec import FeatureSpec, ServiceSpec
from mtl_ray.errors import ConfigError, nearest
from mtl_ray.tasks import TaskConfig
from mtl_ray.tasks.size_grid import MISSING_CELL, cells

_NUMBERS = ("Bool", "Int32", "Int64", "Float32", "Float64")


def task_input_columns(tasks: Mapping[str, TaskConfig]) -> tuple[str, ...]:
    """All columns that `tasks` read beside their labels, each once, in the order of the config."""
    return tuple(dict.fromkeys(column for task in tasks.values() for column in task.input_columns()))


def check_task_inputs(tasks: Mapping[str, TaskConfig], spec: ServiceSpec, spine: pa.Schema) -> tuple[str, ...]:
    """Those of the tasks' input columns that the spine has to give; the others are features of the service.

    Where both have a column of a name, the feature counts. Raises `ConfigError` for a column that is neither, or that
    holds no numbers.
    """
    features = {feature.name: feature for feature in spec.retrieved}
    known = [*features, *spine.names]
    of_spine = []
    for name, task in tasks.items():
        for column in task.input_columns():
            if column not in known:
                guess = nearest(column, known)
                raise ConfigError(
                    f"The task {name!r} reads a column that there is not.",
                    where=f"tasks.{name}",
                    found=column,
                    allowed=f"columns of the spine: {', '.join(spine.names)}; features: {', '.join(features)}",
                    fix=f"did you mean {guess}?" if guess else "add the column to the spine, or correct its name",
                )
            if column not in features:
                of_spine.append(column)
            kind = _other_than_numbers(column, features, spine)
            if kind is not None:
                raise ConfigError(
                    f"The task {name!r} reads a column that holds no numbers.",
                    where=f"tasks.{name}, {'feature' if column in features else 'spine column'} {column}",
                    found=f"type {kind}",
                    allowed="integers, floats, decimals or truth values",
                    fix="name another column, or write numbers",
                )
    return tuple(dict.fromkeys(of_spine))


def encode_task_inputs(table: pa.Table, tasks: Mapping[str, TaskConfig], labels: Labels) -> np.ndarray:
    """The columns `task_input_columns` of `table`'s rows, float32 `[rows, K]`, NaN where missing or not finite.

    Raises `DataError` for a value that a task refuses.
    """
    columns = task_input_columns(tasks)
    found = np.empty((table.num_rows, len(columns)), dtype=np.float32)
    with np.errstate(over="ignore"):
        for position, column in enumerate(columns):
            found[:, position] = numeric_values(table[column], column)
    found[np.isinf(found)] = np.nan
    for number, task in enumerate(tasks.values()):
        for column in task.input_columns():
            task.check_inputs(column, found[:, columns.index(column)], labels.observed[:, number])
    return found


def size_cells(inputs: np.ndarray, tasks: Mapping[str, TaskConfig]) -> np.ndarray | None:
    """Cell of the size grid by which each task's label is counted, int16 `[rows, T]`; MISSING_CELL where a task's
    statistics depend on no input or it is missing. None where they do so for no task. `inputs`: of
    `encode_task_inputs`."""
    read = {number: column for number, task in enumerate(tasks.values()) if (column := task.statistics_input())}
    if not read:
        return None
    columns, settings = task_input_columns(tasks), list(tasks.values())
    found = np.full((len(inputs), len(tasks)), MISSING_CELL, dtype=np.int16)
    for number, column in read.items():
        found[:, number] = cells(settings[number].statistics_sizes(inputs[:, columns.index(column)]))
    return found


def _other_than_numbers(column: str, features: Mapping[str, FeatureSpec], spine: pa.Schema) -> str | None:
    """The column's type, unless its values are numbers."""
    if column in features:
        dtype = features[column].dtype
        return None if dtype in _NUMBERS else str(dtype)
    kind = spine.field(column).type
    numbers = (
        pa.types.is_integer(kind),
        pa.types.is_floating(kind),
        pa.types.is_decimal(kind),
        pa.types.is_boolean(kind),
        pa.types.is_null(kind),
    )
    return None if any(numbers) else str(kind)
