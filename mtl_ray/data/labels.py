"""Labels of all tasks side by side, which of them are observed, and what the training part says about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

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


def label_statistics(labels: Labels, tasks: Mapping[str, TaskConfig]) -> dict[str, LabelStatistics]:
    """Statistics by task over the observed rows of `labels` (the training part)."""
    return {name: _statistics(task, *_column(labels, position)) for position, (name, task) in enumerate(tasks.items())}


def label_rates(
    labels: Labels, tasks: Mapping[str, TaskConfig], rows: Sequence[int] | np.ndarray
) -> dict[str, LabelRate]:
    """Number and mean of the observed labels among `rows`, by task."""
    part = Labels(labels.values[rows], labels.observed[rows])
    found = label_statistics(part, tasks)
    return {name: LabelRate(observed=item.observed, mean=item.mean) for name, item in found.items()}


def _column(labels: Labels, position: int) -> tuple[int, np.ndarray]:
    values = labels.values[labels.observed[:, position], position].astype(np.float64)
    return values.size, values


def _statistics(task: TaskConfig, observed: int, values: np.ndarray) -> LabelStatistics:
    if isinstance(task, MulticlassTaskConfig):
        counts = np.bincount(values.astype(np.int64), minlength=len(task.classes))
        return LabelStatistics(observed=observed, class_counts=tuple(counts.tolist()))
    if observed == 0:
        return LabelStatistics(observed=0)
    mean = float(values.mean())
    if not isinstance(task, RegressionTaskConfig):
        return LabelStatistics(observed=observed, mean=mean)
    transformed = np.log1p(values) if task.transform == "log1p" else values
    return LabelStatistics(
        observed=observed,
        mean=mean,
        transformed_mean=float(transformed.mean()),
        transformed_std=float(transformed.std()),
    )
