"""Which labels a task refuses."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.errors import DataError
from mtl_ray.tasks import TaskConfig


def refused_labels(task: TaskConfig, values: pa.ChunkedArray, column: str) -> np.ndarray:
    """Rows whose label `task` refuses, bool `[rows]`.

    Asks the task itself, whatever its type: a column that it takes whole has no such row, and otherwise the distinct
    values are halved until those that it refuses stand alone. Raises the task's `DataError` where the column's type
    is wrong, so that no value could be right.
    """
    if _takes(task, values, column):
        return np.zeros(len(values), dtype=bool)
    task.encode_labels(values.slice(0, 0), column)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    distinct = pc.unique(values)
    refused: list[int] = []
    waiting = [(0, len(distinct))]
    while waiting:
        begin, end = waiting.pop()
        if _takes(task, pa.chunked_array([distinct.slice(begin, end - begin)]), column):
            continue
        if end - begin == 1:
            refused.append(begin)
            continue
        middle = (begin + end) // 2
        waiting += [(begin, middle), (middle, end)]
    index = pc.index_in(values, value_set=distinct).to_numpy()
    return np.isin(index, refused)


def _takes(task: TaskConfig, values: pa.ChunkedArray, column: str) -> bool:
    try:
        task.encode_labels(values, column)
    except DataError:
        return False
    return True
