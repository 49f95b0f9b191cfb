"""Every metric of every task on one split, with its interval, its baseline and what was attainable."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from mtl_ray.evaluation.baselines import baseline_metrics
from mtl_ray.evaluation.bootstrap import bootstrap_intervals
from mtl_ray.evaluation.columns import TaskColumns, group_numbers, task_columns
from mtl_ray.evaluation.curves import Curves, binary_curves, multiclass_curves, ranking_curves, regression_curves
from mtl_ray.evaluation.results import EvaluationResult, MetricValue, TaskResult
from mtl_ray.metrics import MetricSet
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, ClassTaskSettings, NextItemTaskConfig, RegressionTaskConfig, TaskConfig


def summarise(
    predictions: pa.Table,
    tasks: Mapping[str, TaskConfig],
    *,
    group_by: str | None = None,
    train_statistics: Mapping[str, LabelStatistics],
    replicates: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
    split: str = "test",
    run: str | None = None,
    checkpoint: str | None = None,
    training_set: str | None = None,
    created: datetime | None = None,
) -> EvaluationResult:
    """Evaluates a predictions table: one row for each row of the split, columns as the predictor writes them.

    `group_by`: column whose groups (users) gauc ranks within and the bootstrap draws whole; None draws single rows
    and gives no gauc. `train_statistics`: label statistics of the training part for each task, for the baselines.
    `replicates` 0 leaves the intervals out. A task without any observed row has values None.

    Raises DataError for a table that lacks a column or has nulls where a label is observed.
    """
    group, groups = group_numbers(predictions, group_by) if group_by is not None else (None, None)
    results = []
    for name, config in tasks.items():
        columns = task_columns(predictions, name, group)
        metrics = MetricSet(config.build(name, train_statistics[name]).metrics(grouped=group is not None))
        level = config.level if isinstance(config, RegressionTaskConfig) else None
        values = _values(metrics, columns, train_statistics[name], level, replicates, confidence, seed)
        attainable = _attainable(metrics, columns) if isinstance(config, BinaryTaskConfig) else None
        results.append(
            TaskResult(
                task=name,
                type=config.type,
                rows=len(columns.label),
                rows_in_split=predictions.num_rows,
                base=None if isinstance(config, ClassTaskSettings) else _mean(columns),
                threshold=config.threshold if isinstance(config, BinaryTaskConfig) else None,
                metrics=values,
                attainable=attainable,
                share_of_attainable=_share(values, attainable),
                curves=_curves(config, columns),
            )
        )
    return EvaluationResult(
        run=run,
        checkpoint=checkpoint,
        split=split,
        training_set=training_set,
        rows=predictions.num_rows,
        groups=groups,
        group_by=group_by,
        replicates=replicates,
        confidence=confidence,
        created=created or datetime.now(UTC),
        tasks=tuple(results),
    )


def _values(
    metrics: MetricSet,
    columns: TaskColumns,
    statistics: LabelStatistics,
    level: float | None,
    replicates: int,
    confidence: float,
    seed: int,
) -> dict[str, MetricValue]:
    baseline = baseline_metrics(metrics, statistics, columns.label, columns.group, level)
    intervals = bootstrap_intervals(
        metrics,
        columns.prediction,
        columns.label,
        group=columns.group,
        replicates=replicates,
        confidence=confidence,
        seed=seed,
    )
    values = {}
    for name, value in _computed(metrics, columns.prediction, columns).items():
        interval = intervals[name]
        values[name] = MetricValue(
            value=_defined(value),
            low=interval.low if interval else None,
            high=interval.high if interval else None,
            baseline=_defined(baseline.get(name)),
        )
    return values


def _computed(metrics: MetricSet, prediction: np.ndarray, columns: TaskColumns) -> dict[str, float]:
    fresh = metrics.empty()
    fresh.update(prediction, columns.label, group=columns.group)
    return fresh.compute()


def _attainable(metrics: MetricSet, columns: TaskColumns) -> dict[str, float] | None:
    if columns.truth is None:
        return None
    values = _computed(metrics, columns.truth, columns)
    return {name: value for name, value in values.items() if np.isfinite(value)}


def _share(values: Mapping[str, MetricValue], attainable: Mapping[str, float] | None) -> float | None:
    best = (attainable or {}).get("roc_auc")
    reached = values["roc_auc"].value if "roc_auc" in values else None
    if best is None or reached is None or best <= 0.5:
        return None
    return (reached - 0.5) / (best - 0.5)


def _curves(config: TaskConfig, columns: TaskColumns) -> Curves:
    prediction = columns.prediction.astype(np.float64)
    if isinstance(config, BinaryTaskConfig):
        return binary_curves(prediction, columns.label)
    if isinstance(config, NextItemTaskConfig):
        return ranking_curves(prediction, columns.label)
    if isinstance(config, ClassTaskSettings):
        return multiclass_curves(prediction, columns.label)
    return regression_curves(prediction, columns.label)


def _mean(columns: TaskColumns) -> float | None:
    return float(columns.label.mean()) if len(columns.label) else None


def _defined(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
