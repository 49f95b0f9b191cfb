"""What the report draws of each task: names of curves -> names of columns -> numbers.

A curve that the rows do not define is absent: all of them without rows, `roc` unless both classes occur.
"""

from __future__ import annotations

import numpy as np

from mtl_ray.metrics import RankingMetrics
from mtl_ray.metrics.calibration import probability_bin
from mtl_ray.metrics.metric import FloatArray, IntArray
from mtl_ray.metrics.ranking import roc_curve

Curves = dict[str, dict[str, list[float]]]

ROC_POINTS = 200
RELIABILITY_BINS = 15


def binary_curves(prediction: FloatArray, label: FloatArray) -> Curves:
    """`roc`: fpr, tpr, at most 200 points.

    `reliability`: mean predicted, share observed and rows of each non-empty one of 15 equal-width bins, the same
    that `ece` has.
    """
    if not len(label):
        return {}
    reliability = _means_by_bin(probability_bin(prediction, RELIABILITY_BINS), prediction, label)
    return {"reliability": reliability, **ranking_curves(prediction, label)}


def ranking_curves(prediction: FloatArray, label: FloatArray) -> Curves:
    """`roc` alone, of scores that are no probabilities."""
    ranking = RankingMetrics()
    ranking.update(prediction, label)
    false, true = roc_curve(ranking.table())
    if not len(false):
        return {}
    kept = _evenly_along(false + true, ROC_POINTS)
    return {"roc": {"fpr": false[kept].tolist(), "tpr": true[kept].tolist()}}


def regression_curves(prediction: FloatArray, label: FloatArray) -> Curves:
    """`predicted_vs_observed`: mean predicted, mean observed and rows, in ten parts of equal size by prediction."""
    if not len(label):
        return {}
    decile = np.empty(len(label), dtype=np.int64)
    decile[np.argsort(prediction, kind="stable")] = np.arange(len(label)) * 10 // len(label)
    return {"predicted_vs_observed": _means_by_bin(decile, prediction, label)}


def multiclass_curves(prediction: FloatArray, label: FloatArray) -> Curves:
    """`confusion`: `count`, rows by class, flattened `[C * C]`: true class outside, most probable inside."""
    if not len(label):
        return {}
    classes = prediction.shape[1]
    cell = label.astype(np.int64) * classes + prediction.argmax(axis=1)
    return {"confusion": {"count": np.bincount(cell, minlength=classes**2).astype(np.float64).tolist()}}


def _means_by_bin(bins: IntArray, prediction: FloatArray, label: FloatArray) -> dict[str, list[float]]:
    rows = np.bincount(bins)
    filled = np.flatnonzero(rows)
    predicted = np.bincount(bins, weights=prediction)[filled] / rows[filled]
    observed = np.bincount(bins, weights=label)[filled] / rows[filled]
    return {
        "predicted": predicted.tolist(),
        "observed": observed.tolist(),
        "rows": rows[filled].astype(np.float64).tolist(),
    }


def _evenly_along(length: FloatArray, points: int) -> IntArray:
    """Indices of at most `points` of the points, even in `length` (ascending), first and last included."""
    if len(length) <= points:
        return np.arange(len(length))
    wanted = np.linspace(length[0], length[-1], points)
    return np.unique(np.searchsorted(length, wanted))
