"""Mergeable metrics: exact over shards, numpy only.

Which values a task type has: `binary_metrics`, `regression_metrics`, `multiclass_metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mtl_ray.metrics.calibration import CalibrationMetrics
from mtl_ray.metrics.classification import LogLossMetrics, ThresholdMetrics
from mtl_ray.metrics.grouped import GroupedRankingMetrics
from mtl_ray.metrics.metric import Metric
from mtl_ray.metrics.metric_set import MetricSet
from mtl_ray.metrics.multiclass import MulticlassMetrics
from mtl_ray.metrics.ranking import RankingMetrics
from mtl_ray.metrics.regression import RegressionMetrics

__all__ = [
    "GREATER_IS_BETTER",
    "CalibrationMetrics",
    "GroupedRankingMetrics",
    "LogLossMetrics",
    "Metric",
    "MetricSet",
    "MulticlassMetrics",
    "RankingMetrics",
    "RegressionMetrics",
    "ThresholdMetrics",
    "binary_metrics",
    "multiclass_metrics",
    "regression_metrics",
]

GREATER_IS_BETTER: Mapping[str, bool] = MappingProxyType(
    {
        "roc_auc": True,
        "gauc": True,
        "pr_auc": True,
        "log_loss": False,
        "normalized_entropy": False,
        "ece": False,
        "accuracy": True,
        "precision": True,
        "recall": True,
        "f1": True,
        "top2_accuracy": True,
        "top3_accuracy": True,
        "macro_f1": True,
        "rmse": False,
        "mae": False,
        "r2": True,
        "rmse_log1p": False,
        "mae_log1p": False,
        "r2_log1p": True,
    }
)
"""Which way each metric improves, for early stopping and model selection.

`predicted_over_observed` is absent: it is best at 1, so neither way.
"""


def binary_metrics(threshold: float = 0.5, grouped: bool = False) -> dict[str, Metric]:
    """New metrics of a binary task, `grouped` adds gauc and then updates need the group of every row."""
    metrics: dict[str, Metric] = {"ranking": RankingMetrics()}
    if grouped:
        metrics["grouped_ranking"] = GroupedRankingMetrics()
    metrics["log_loss"] = LogLossMetrics()
    metrics["calibration"] = CalibrationMetrics()
    metrics["threshold"] = ThresholdMetrics(threshold)
    return metrics


def regression_metrics(log1p: bool = False) -> dict[str, Metric]:
    """New metrics of a regression task; `log1p` adds the errors of log(1 + value)."""
    return {"regression": RegressionMetrics(log1p)}


def multiclass_metrics(num_classes: int) -> dict[str, Metric]:
    """New metrics of a task with classes."""
    return {"multiclass": MulticlassMetrics(num_classes)}
