"""Metrics that are a function of weighted sums over rows."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from mtl_ray.metrics.metric import FloatArray, IntArray, Metric, Resampler, Rows, Units

_ROUNDING = 1e-6


class AdditiveMetric(Metric):
    """A metric whose state is S sums: shards merge by addition, a bootstrap is one matrix product."""

    def __init__(self, size: int) -> None:
        self._sums: FloatArray = np.zeros(size)

    @abstractmethod
    def contributions(self, rows: Rows) -> FloatArray:
        """What each row adds to the sums for each unit of its weight, `[n, S]`."""

    @abstractmethod
    def values(self, sums: FloatArray) -> dict[str, FloatArray]:
        """Each value of the metric from sums `[..., S]`, as arrays `[...]`; NaN where undefined."""

    def compute(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.values(self._sums).items()}

    def resampler(self, rows: Rows, units: Units) -> Resampler:
        sums = sum_by_unit(self.contributions(rows) * rows.weight[:, None], units)
        return lambda counts: self.values(counts @ sums)

    def _update(self, rows: Rows) -> None:
        self._sums = self._sums + rows.weight @ self.contributions(rows)

    def _merge(self, other: AdditiveMetric) -> None:
        self._sums = self._sums + other._sums


def sum_by_unit(values: FloatArray, units: Units) -> FloatArray:
    """Sums of `values [n, S]` over the rows of each unit, `[U, S]`."""
    return np.stack([np.bincount(units.of_row, column, minlength=units.total) for column in values.T], axis=1)


def ratio(numerator: FloatArray, denominator: FloatArray, undefined: float = np.nan) -> FloatArray:
    """`numerator / denominator` element by element, `undefined` where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    out = np.full(numerator.shape, undefined, dtype=np.float64)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


def check_binary(label: FloatArray) -> None:
    """Raises ValueError unless every label is 0 or 1."""
    if not ((label == 0.0) | (label == 1.0)).all():
        raise ValueError("a binary metric takes labels 0 and 1 only")


def check_probability(prediction: FloatArray, dimensions: int = 1) -> None:
    """Raises ValueError unless every prediction is in [0, 1] and the array has so many dimensions."""
    if prediction.ndim != dimensions:
        raise ValueError(f"the metric takes predictions of {dimensions} dimensions, got {prediction.ndim}")
    # A sum of float32 class probabilities may pass 1 by rounding.
    if ((prediction < -_ROUNDING) | (prediction > 1.0 + _ROUNDING)).any():
        raise ValueError("a probability lies outside [0, 1]")


def class_labels(rows: Rows, num_classes: int) -> IntArray:
    """Labels `[n]` as class indices, int64. Raises ValueError unless predictions are probabilities `[n, num_classes]`
    and every label is a class index."""
    check_probability(rows.prediction, dimensions=2)
    label = rows.label.astype(np.int64)
    if rows.prediction.shape[1] != num_classes:
        raise ValueError(f"{rows.prediction.shape[1]} probabilities a row for {num_classes} classes")
    if ((label != rows.label) | (label < 0) | (label >= num_classes)).any():
        raise ValueError(f"a label is not a class index from 0 to {num_classes - 1}")
    return label
