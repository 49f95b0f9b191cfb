"""Labels of all tasks side by side, which of them are observed, and what the training part says about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mtl_ray.data.distributions import NumberDistribution
from mtl_ray.data.splits.split import PARTS
from mtl_ray.schema import LabelStatistics, Settings
from mtl_ray.tasks import MulticlassTaskConfig, RegressionTaskConfig, TaskConfig


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
    """float32 `[rows, T]`; 0 where not observed; a multiclass label is its class index."""
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


def label_counts(labels: Labels, parts: np.ndarray) -> pa.Table:
    """How often each observed label occurs: columns part int8, task int16 (column number), value float64, count int64.

    `parts`: part of each row, int8 `[rows]`. Counts of buckets are put together by `label_summary`.
    """
    rows, tasks = np.nonzero(labels.observed)
    table = pa.table(
        {
            "part": pa.array(parts[rows], pa.int8()),
            "task": pa.array(tasks.astype(np.int16)),
            "value": pa.array(labels.values[rows, tasks].astype(np.float64)),
        }
    )
    counted = table.group_by(["part", "task", "value"]).aggregate([([], "count_all")])
    return counted.select(["part", "task", "value", "count_all"]).rename_columns(["part", "task", "value", "count"])


def merged_label_counts(counts: Sequence[pa.Table]) -> pa.Table:
    """`label_counts` of several buckets together, in the order of part, task and value."""
    keys = ["part", "task", "value"]
    table = pa.concat_tables(counts).group_by(keys).aggregate([("count", "sum")])
    return (
        table.select([*keys, "count_sum"])
        .rename_columns([*keys, "count"])
        .sort_by([(key, "ascending") for key in keys])
    )


def label_summary(
    counts: Sequence[pa.Table], tasks: Mapping[str, TaskConfig]
) -> tuple[dict[str, LabelStatistics], dict[str, dict[str, LabelRate]]]:
    """Statistics by task over the training part, and the rates by part and task.

    `counts`: `label_counts` of all buckets. The result does not depend on how rows are cut into buckets.
    """
    table = merged_label_counts(counts)
    part, task = table["part"].to_numpy(), table["task"].to_numpy()
    value, count = table["value"].to_numpy(), table["count"].to_numpy().astype(np.int64)
    found = {
        name: {
            task_name: _statistics(config, value[chosen], count[chosen])
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


def _statistics(task: TaskConfig, values: np.ndarray, counts: np.ndarray) -> LabelStatistics:
    """Of labels given as distinct `values` float64 `[d]`, rising, with `counts` int64 `[d]`."""
    observed = int(counts.sum())
    if isinstance(task, MulticlassTaskConfig):
        by_class = np.bincount(values.astype(np.int64), weights=counts, minlength=len(task.classes))
        return LabelStatistics(observed=observed, class_counts=tuple(by_class.astype(np.int64).tolist()))
    if observed == 0:
        return LabelStatistics(observed=0)
    distribution = NumberDistribution(values, values, counts, missing=0)
    mean, _ = distribution.moments()
    if not isinstance(task, RegressionTaskConfig):
        return LabelStatistics(observed=observed, mean=mean)
    transformed_mean, transformed_std = distribution.moments(np.log1p if task.transform == "log1p" else None)
    return LabelStatistics(
        observed=observed, mean=mean, transformed_mean=transformed_mean, transformed_std=transformed_std
    )
