"""The difference of two models' ROC-AUC over the same rows, as a metric that the bootstrap can resample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mtl_ray.metrics import Metric, RankingMetrics
from mtl_ray.metrics.metric import FloatArray, Resampler, Rows, Units

_VALUE = "roc_auc"


class AucDifference(Metric):
    """`difference`: mean ROC-AUC of the last S columns of predictions less that of the first S; NaN unless both classes
    occur.

    Predictions `[n, 2 S]` of 2 S trainings, labels 0 and 1. Resampled rows are the same for all columns, so that the
    interval is that of paired differences.
    """

    def __init__(self, columns: int) -> None:
        self._columns = [RankingMetrics() for _ in range(columns)]

    def settings(self) -> tuple[int]:
        return (len(self._columns),)

    def compute(self) -> dict[str, float]:
        values = np.array([[column.compute()[_VALUE]] for column in self._columns])
        return {"difference": float(_difference(values)[0])}

    def resampler(self, rows: Rows, units: Units) -> Resampler:
        parts = [column.resampler(_column(rows, index), units) for index, column in enumerate(self._columns)]

        def resample(counts: FloatArray) -> dict[str, FloatArray]:
            return {"difference": _difference(np.stack([part(counts)[_VALUE] for part in parts]))}

        return resample

    def _update(self, rows: Rows) -> None:
        for index, column in enumerate(self._columns):
            column._update(_column(rows, index))

    def _merge(self, other: AucDifference) -> None:
        for mine, theirs in zip(self._columns, other._columns, strict=True):
            mine.merge(theirs)


def _column(rows: Rows, index: int) -> Rows:
    return replace(rows, prediction=rows.prediction[:, index])


def _difference(values: FloatArray) -> FloatArray:
    """`[2 S, K]` -> `[K]`."""
    half = len(values) // 2
    difference: FloatArray = values[half:].mean(axis=0) - values[:half].mean(axis=0)
    return difference
