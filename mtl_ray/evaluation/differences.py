"""How two models differ on the same rows, and whether that is more than another sample of rows would do.

The difference of a metric is bootstrapped as one statistic: every replicate draws rows (or whole groups) once and
computes the metric of both models on them. What makes a sample hard for both cancels out, so the interval is far
narrower than two separate ones suggest. It says nothing of another seed: each model is one training.

Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 (paired data) and 13 (percentiles).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa

from mtl_ray.errors import MtlRayError
from mtl_ray.evaluation.bootstrap import bootstrap_intervals
from mtl_ray.evaluation.columns import TaskColumns, group_numbers, task_columns
from mtl_ray.metrics import GREATER_IS_BETTER, Metric, MetricSet
from mtl_ray.metrics.metric import Array, FloatArray, Resampler, Rows, Units
from mtl_ray.schema import LabelStatistics, Settings
from mtl_ray.tasks import TaskConfig

Verdict = Literal["better", "worse", "within noise", "not defined"]
"""better, worse: the whole interval lies on that side of 0. within noise: it holds 0."""


class Difference(Settings):
    """One metric of one task, of two models on the same rows."""

    task: str
    metric: str
    of: str
    against: str
    value: float | None
    """Of the model `of`; None where the rows do not define it."""
    reference: float | None
    """Of the model `against`."""
    difference: float | None
    """`value` - `reference`, whichever way the metric improves."""
    low: float | None
    """Ends of the paired bootstrap interval of `difference`."""
    high: float | None
    verdict: Verdict


class PairedDifference(Metric):
    """The values of a metric for the second half of the prediction columns less those for the first half.

    Predictions `[n, 2]` of two models, or `[n, 2 C]` of two models with C classes.
    """

    def __init__(self, metric: Metric) -> None:
        self._sides = (metric.empty(), metric.empty())

    def settings(self) -> tuple[Any, ...]:
        return (type(self._sides[0]).__name__, self._sides[0].settings())

    def empty(self) -> Self:
        return type(self)(self._sides[0])

    def compute(self) -> dict[str, float]:
        first, second = (side.compute() for side in self._sides)
        return {name: second[name] - value for name, value in first.items()}

    def resampler(self, rows: Rows, units: Units) -> Resampler:
        first, second = (side.resampler(half, units) for side, half in zip(self._sides, _halves(rows), strict=True))

        def resample(counts: FloatArray) -> dict[str, FloatArray]:
            before, after = first(counts), second(counts)
            return {name: after[name] - values for name, values in before.items()}

        return resample

    def _update(self, rows: Rows) -> None:
        for side, half in zip(self._sides, _halves(rows), strict=True):
            side._update(half)

    def _merge(self, other: PairedDifference) -> None:
        for mine, theirs in zip(self._sides, other._sides, strict=True):
            mine.merge(theirs)


def _halves(rows: Rows) -> tuple[Rows, Rows]:
    width = rows.prediction.shape[1] // 2
    first, second = (
        replace(rows, prediction=half[:, 0] if width == 1 else half)
        for half in (rows.prediction[:, :width], rows.prediction[:, width:])
    )
    return first, second


def task_differences(
    of: tuple[str, pa.Table],
    against: tuple[str, pa.Table],
    task: str,
    config: TaskConfig,
    metrics: Sequence[str],
    *,
    group_by: str | None,
    statistics: LabelStatistics,
    replicates: int,
    confidence: float,
    seed: int,
) -> list[Difference]:
    """The differences in `metrics` of one task, for those that its type has.

    Args:
        of, against: name and predictions table (`mtl_ray.evaluation.predict.prediction_table`) of each model: of the
            same rows, sorted by row_id.
        statistics: label statistics of the training part.
        group_by, replicates, confidence, seed: as in `mtl_ray.evaluation.summarise.summarise`.

    Raises:
        MtlRayError: the tables are not of the same rows.
        DataError: as `task_columns`.
    """
    columns, reference = _same_rows(of, against, task, group_by)
    every = config.build(task, statistics).metrics(grouped=group_by is not None)
    wanted = {name: metric for name, metric in every.items() if any(value in metrics for value in metric.compute())}
    measured = MetricSet(wanted)
    values = _values(measured, columns, columns.prediction)
    references = _values(measured, columns, reference)
    paired = PairedDifference(measured)
    both = np.concatenate([_matrix(reference), _matrix(columns.prediction)], axis=1)
    intervals = bootstrap_intervals(
        paired, both, columns.label, group=columns.group, replicates=replicates, confidence=confidence, seed=seed
    )
    found = []
    for name in (name for name in metrics if name in values):
        value, other, interval = _defined(values[name]), _defined(references[name]), intervals[name]
        found.append(
            Difference(
                task=task,
                metric=name,
                of=of[0],
                against=against[0],
                value=value,
                reference=other,
                difference=None if value is None or other is None else value - other,
                low=None if interval is None else interval.low,
                high=None if interval is None else interval.high,
                verdict=verdict(name, None if interval is None else (interval.low, interval.high)),
            )
        )
    return found


def verdict(metric: str, interval: tuple[float, float] | None) -> Verdict:
    """What the interval of a difference in `metric` says."""
    if interval is None:
        return "not defined"
    low, high = interval
    if low <= 0.0 <= high:
        return "within noise"
    return "better" if (low > 0.0) == GREATER_IS_BETTER.get(metric, False) else "worse"


def _same_rows(
    of: tuple[str, pa.Table], against: tuple[str, pa.Table], task: str, group_by: str | None
) -> tuple[TaskColumns, Array]:
    """The observed rows of `of`, and the predictions of `against` in the same rows."""
    if not of[1]["row_id"].equals(against[1]["row_id"]):
        raise MtlRayError(f"The predictions of {of[0]} and of {against[0]} are not of the same rows.")
    group = None if group_by is None else group_numbers(of[1], group_by)[0]
    columns, others = task_columns(of[1], task, group), task_columns(against[1], task, group)
    if not np.array_equal(columns.label, others.label):
        raise MtlRayError(f"The labels of {task} that {of[0]} and {against[0]} were judged by are not the same.")
    return columns, others.prediction


def _values(metrics: MetricSet, columns: TaskColumns, prediction: Array) -> Mapping[str, float]:
    fresh = metrics.empty()
    fresh.update(prediction, columns.label, group=columns.group)
    return fresh.compute()


def _matrix(prediction: Array) -> Array:
    return prediction[:, None] if prediction.ndim == 1 else prediction


def _defined(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
