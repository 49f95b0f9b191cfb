"""Labels of all tasks side by side, which of them are observed, and what the training part says about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mtl_ray.data.label_statistics import label_statistics
from mtl_ray.data.splits.split import PARTS
from mtl_ray.schema import LabelStatistics, Settings
from mtl_ray.tasks import TaskConfig
from mtl_ray.tasks.size_grid import MISSING_CELL

_KEYS = ["part", "task", "cell", "value"]


class LabelRate(Settings):
    """One task's label in one part."""

    observed: int
    """Rows with a label."""
    mean: float | None
    """Mean raw label of those; None without any, and for classes."""


@dataclass(frozen=True)
class Labels:
    """Labels of every spine row; columns in the order of the tasks."""

    values: np.ndarray
    """float32 `[rows, T]`; 0 where not observed; a label with classes is its class index."""
    observed: np.ndarray
    """bool `[rows, T]`."""


def encode_labels(spine: pa.Table, tasks: Mapping[str, TaskConfig]) -> Labels:
    """Labels of `spine`'s rows, each read as its task's type says.

    A NULL is not observed. `observed_when: other` keeps a label only where `other` is observed (after its own
    condition) and not zero. Raises `DataError` for a value outside the label's range.
    """
    encoded = {
        name: task.encode_labels(spine[task.label_column(name)], task.label_column(name))
        for name, task in tasks.items()
    }
    conditioned: dict[str, np.ndarray] = {}

    def condition(name: str) -> np.ndarray:
        if name not in conditioned:
            other = tasks[name].observed_when
            values = encoded[name]
            if other is not None:
                given = condition(other)
                values = np.where(np.isnan(given) | (given == 0.0), np.float32(np.nan), values)
            conditioned[name] = values
        return conditioned[name]

    matrix = np.stack([condition(name) for name in tasks], axis=1)
    observed = ~np.isnan(matrix)
    return Labels(np.where(observed, matrix, np.float32(0.0)), observed)


def label_columns(tasks: Mapping[str, TaskConfig]) -> list[str]:
    """Columns of the spine that hold labels, each once."""
    return list(dict.fromkeys(task.label_column(name) for name, task in tasks.items()))


def label_counts(labels: Labels, parts: np.ndarray, by_cell: np.ndarray | None = None) -> pa.Table:
    """How often each observed label occurs: columns part int8, task int16 (column number), cell int16, value float64,
    count int64.

    `parts`: part of each row, int8 `[rows]`. `by_cell`: of `size_cells`, where tasks
    read inputs. Counts of buckets are put together by `label_summary`.
    """
    rows, tasks = np.nonzero(labels.observed)
    table = pa.table(
        {
            "part": pa.array(parts[rows], pa.int8()),
            "task": pa.array(tasks.astype(np.int16)),
            "cell": pa.array(
                np.full(rows.size, MISSING_CELL, np.int16) if by_cell is None else by_cell[rows, tasks], pa.int16()
            ),
            "value": pa.array(labels.values[rows, tasks].astype(np.float64)),
        }
    )
    counted = table.group_by(_KEYS).aggregate([([], "count_all")])
    return counted.select([*_KEYS, "count_all"]).rename_columns([*_KEYS, "count"])


def merged_label_counts(counts: Sequence[pa.Table]) -> pa.Table:
    """`label_counts` of several buckets together, in the order of part, task, cell and value."""
    table = pa.concat_tables(counts).group_by(_KEYS).aggregate([("count", "sum")])
    return (
        table.select([*_KEYS, "count_sum"])
        .rename_columns([*_KEYS, "count"])
        .sort_by([(key, "ascending") for key in _KEYS])
    )


def label_summary(
    counts: Sequence[pa.Table], tasks: Mapping[str, TaskConfig]
) -> tuple[dict[str, LabelStatistics], dict[str, dict[str, LabelRate]]]:
    """Statistics by task over the training part, and the rates by part and task.

    `counts`: `label_counts` of all buckets. The result does not depend on how rows are cut into buckets.
    """
    table = merged_label_counts(counts)
    part, task = table["part"].to_numpy(), table["task"].to_numpy()
    cell, value = table["cell"].to_numpy(), table["value"].to_numpy()
    count = table["count"].to_numpy().astype(np.int64)
    found = {
        name: {
            task_name: label_statistics(config, value[chosen], cell[chosen], count[chosen])
            for position, (task_name, config) in enumerate(tasks.items())
            for chosen in [(part == number) & (task == position)]
        }
        for number, name in enumerate(PARTS)
    }
    rates = {
        name: {key: LabelRate(observed=item.observed, mean=item.mean) for key, item in by_task.items()}
        for name, by_task in found.items()
    }
    return found[PARTS[0]], rates
