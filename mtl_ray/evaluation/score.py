"""The ranking score on one split: how well it orders by the label of each binary task."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from mtl_ray.evaluation.bootstrap import bootstrap_intervals
from mtl_ray.evaluation.columns import TaskColumns, group_numbers, task_columns
from mtl_ray.evaluation.results import MetricValue, ScoreResult
from mtl_ray.fusion import Fusion
from mtl_ray.fusion.config import SCORE_COLUMN
from mtl_ray.metrics import GroupedRankingMetrics, Metric, MetricSet, RankingMetrics
from mtl_ray.metrics.metric import FloatArray
from mtl_ray.tasks import BinaryTaskConfig, TaskConfig

WANTED = ("roc_auc", "gauc")


def score_result(
    predictions: pa.Table,
    fusion: Fusion,
    tasks: Mapping[str, TaskConfig],
    *,
    group_by: str | None,
    replicates: int,
    confidence: float,
    seed: int,
) -> ScoreResult:
    """From a predictions table with the column `score`; arguments as `summarise` has them."""
    group = group_numbers(predictions, group_by)[0] if group_by is not None else None
    score = predictions[SCORE_COLUMN].to_numpy()
    metrics = {}
    for name, config in tasks.items():
        if isinstance(config, BinaryTaskConfig):
            columns = task_columns(predictions, name, group)
            observed = predictions[f"{name}__observed"].to_numpy()
            metrics[name] = _values(score[observed], columns, replicates, confidence, seed)
    return ScoreResult(fusion=fusion, metrics=metrics)


def _values(
    score: FloatArray, columns: TaskColumns, replicates: int, confidence: float, seed: int
) -> dict[str, MetricValue]:
    kinds: dict[str, Metric] = {"ranking": RankingMetrics()}
    if columns.group is not None:
        kinds["grouped_ranking"] = GroupedRankingMetrics()
    metric = MetricSet(kinds)
    intervals = bootstrap_intervals(
        metric, score, columns.label, group=columns.group, replicates=replicates, confidence=confidence, seed=seed
    )
    reached, alone = _computed(metric, score, columns), _computed(metric, columns.prediction, columns)
    values = {}
    for name in WANTED:
        if name in reached:
            interval = intervals[name]
            values[name] = MetricValue(
                value=reached[name] if np.isfinite(reached[name]) else None,
                low=interval.low if interval else None,
                high=interval.high if interval else None,
                baseline=alone[name] if np.isfinite(alone[name]) else None,
            )
    return values


def _computed(metric: MetricSet, prediction: FloatArray, columns: TaskColumns) -> dict[str, float]:
    fresh = metric.empty()
    fresh.update(prediction, columns.label, group=columns.group)
    return fresh.compute()
