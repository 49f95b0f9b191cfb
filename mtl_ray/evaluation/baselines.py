"""What a model must beat: the same constant for every row, learnt from the training part."""

from __future__ import annotations

import numpy as np

from mtl_ray.metrics import MetricSet
from mtl_ray.metrics.metric import Array, FloatArray
from mtl_ray.schema import LabelStatistics


def baseline_metrics(
    metrics: MetricSet,
    statistics: LabelStatistics,
    label: FloatArray,
    group: Array | None,
    level: float | None = None,
) -> dict[str, float]:
    """Values of `metrics` (its state is not read) for predicting the mean in every row of `label [n]`.

    The mean is the base rate of a binary task, the mean of a number, the class shares. The log1p errors of a
    regression are those of predicting the mean of log(1 + label), and those of a predicted quantile of that of the
    labels at `level`: by each measure the constant that is best there.
    Empty where the training part has no label or the split no row.
    """
    if statistics.observed == 0 or not len(label):
        return {}
    if statistics.class_counts is not None:
        counts = np.asarray(statistics.class_counts, dtype=np.float64)
        return _of_constant(metrics, counts / counts.sum(), label, group)
    if statistics.mean is None:
        return {}
    values = _of_constant(metrics, np.float64(statistics.mean), label, group)
    if any(name.endswith("_log1p") for name in values) and statistics.transformed_mean is not None:
        on_log_scale = _of_constant(metrics, np.expm1(np.float64(statistics.transformed_mean)), label, group)
        values |= {name: value for name, value in on_log_scale.items() if name.endswith("_log1p")}
    if level is not None and statistics.quantiles:
        ranks = np.linspace(0.0, 1.0, len(statistics.quantiles))
        quantile = np.float64(np.interp(level, ranks, statistics.quantiles))
        of_quantile = _of_constant(metrics, quantile, label, group)
        values |= {name: value for name, value in of_quantile.items() if name in ("pinball", "coverage")}
    return values


def _of_constant(
    metrics: MetricSet, constant: FloatArray | np.float64, label: FloatArray, group: Array | None
) -> dict[str, float]:
    prediction = np.broadcast_to(constant, (len(label), *np.shape(constant)))
    fresh = metrics.empty()
    fresh.update(prediction, label, group=group)
    return fresh.compute()
