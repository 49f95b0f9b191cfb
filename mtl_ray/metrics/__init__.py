"""Mergeable metrics: exact over shards, numpy only.

Which values a task type has: `binary_metrics`, `regression_metrics`, `multiclass_metrics`, `ordinal_metrics`,
`ranking_metrics`, `value_metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mtl_ray.metrics.calibration import CalibrationMetrics
from mtl_ray.metrics.classification import LogLossMetrics, ThresholdMetrics
from mtl_ray.metrics.gini import GiniMetrics
from mtl_ray.metrics.grouped import GroupedRankingMetrics
from mtl_ray.metrics.metric import Metric
from mtl_ray.metrics.metric_set import MetricSet
from mtl_ray.metrics.multiclass import MulticlassMetrics
from mtl_ray.metrics.ordinal import OrdinalMetrics
from mtl_ray.metrics.quantile import QuantileMetrics
from mtl_ray.metrics.ranking import RankingMetrics
from mtl_ray.metrics.regression import RegressionMetrics

__all__ = [
    "GREATER_IS_BETTER",
    "CalibrationMetrics",
    "GiniMetrics",
    "GroupedRankingMetrics",
    "LogLossMetrics",
    "Metric",
    "MetricSet",
    "MulticlassMetrics",
    "OrdinalMetrics",
    "QuantileMetrics",
    "RankingMetrics",
    "RegressionMetrics",
    "ThresholdMetrics",
    "binary_metrics",
    "multiclass_metrics",
    "ordinal_metrics",
    "ranking_metrics",
    "regression_metrics",
    "value_metrics",
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
        "quadratic_kappa": True,
        "class_mae": False,
        "rmse": False,
        "mae": False,
        "r2": True,
        "rmse_log1p": False,
        "mae_log1p": False,
        "r2_log1p": True,
        "normalized_gini": True,
        "pinball": False,
    }
)
"""Which way each metric improves, for early stopping and model selection.

`predicted_over_observed` and `coverage` are absent: they are best at 1 and at the level, so neither way.
"""


def binary_metrics(threshold: float = 0.5, grouped: bool = False) -> dict[str, Metric]:
    """New metrics of a binary task, `grouped` adds gauc and then updates need the group of every row."""
    metrics = ranking_metrics(grouped)
    metrics["log_loss"] = LogLossMetrics()
    metrics["calibration"] = CalibrationMetrics()
    metrics["threshold"] = ThresholdMetrics(threshold)
    return metrics


def ranking_metrics(grouped: bool = False) -> dict[str, Metric]:
    """New metrics of a score that is no probability, by labels 0 and 1; `grouped` as above."""
    metrics: dict[str, Metric] = {"ranking": RankingMetrics()}
    if grouped:
        metrics["grouped_ranking"] = GroupedRankingMetrics()
    return metrics


def regression_metrics(log1p: bool = False, level: float | None = None) -> dict[str, Metric]:
    """New metrics of a regression task; `log1p` adds the errors of log(1 + value), `level` those of a quantile."""
    metrics: dict[str, Metric] = {"regression": RegressionMetrics(log1p)}
    if level is not None:
        metrics["quantile"] = QuantileMetrics(level)
    return metrics


def value_metrics() -> dict[str, Metric]:
    """New metrics of an amount that is 0 in most rows."""
    return {"regression": RegressionMetrics(True), "gini": GiniMetrics()}


def ordinal_metrics(num_classes: int) -> dict[str, Metric]:
    """New metrics of a task with ordered classes."""
    return {"multiclass": MulticlassMetrics(num_classes), "ordinal": OrdinalMetrics(num_classes)}


def multiclass_metrics(num_classes: int) -> dict[str, Metric]:
    """New metrics of a task with classes."""
    return {"multiclass": MulticlassMetrics(num_classes)}
