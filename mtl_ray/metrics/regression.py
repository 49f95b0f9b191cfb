"""Errors of predicted numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtl_ray.metrics.additive import ratio, sum_by_unit
from mtl_ray.metrics.metric import FloatArray, Metric, Resampler, Rows, Units

_ROUNDING = 1e-12


@dataclass
class _Moments:
    """Weighted moments of the label, kept about its own mean, and the sums of the errors.

    The sum of squared deviations is updated and merged by Chan, Golub & LeVeque 1983 (Algorithms for computing the
    sample variance), equation 2.1: subtracting large sums of squares would lose it when the mean is far from 0.
    """

    weight: float = 0.0
    mean: float = 0.0
    deviation: float = 0.0
    """Sum of weight x (label - mean) squared."""
    squared: float = 0.0
    absolute: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    @classmethod
    def of(cls, prediction: FloatArray, label: FloatArray, weight: FloatArray) -> _Moments:
        if not len(label):
            return cls()
        total = float(weight.sum())
        mean = float(weight @ label) / total
        error = prediction - label
        return cls(
            weight=total,
            mean=mean,
            deviation=float(weight @ (label - mean) ** 2),
            squared=float(weight @ error**2),
            absolute=float(weight @ np.abs(error)),
            low=float(label.min()),
            high=float(label.max()),
        )

    def merge(self, other: _Moments) -> None:
        total = self.weight + other.weight
        if not total:
            return
        distance = other.mean - self.mean
        self.deviation += other.deviation + distance**2 * self.weight * other.weight / total
        self.mean += distance * other.weight / total
        self.weight = total
        self.squared += other.squared
        self.absolute += other.absolute
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def sums(self) -> FloatArray:
        # A constant label has deviation 0; rounding of its mean may have left a trace of one.
        deviation = self.deviation if self.low < self.high else 0.0
        return np.array([self.weight, 0.0, deviation, self.squared, self.absolute])


class RegressionMetrics(Metric):
    """`rmse`, `mae` and `r2` in the label's units, and with `log1p` the same of log(1 + value), named `..._log1p`.

    `r2` is 1 - squared error / squared deviation of the label from its mean in the same rows; NaN where the label
    is constant (scikit-learn: 0 or 1 there).
    """

    def __init__(self, log1p: bool = False) -> None:
        self._log1p = log1p
        self._moments = {scale: _Moments() for scale in (("", "_log1p") if log1p else ("",))}

    def settings(self) -> tuple[bool]:
        return (self._log1p,)

    def compute(self) -> dict[str, float]:
        return {
            name: float(value)
            for scale, moments in self._moments.items()
            for name, value in _values(moments.sums(), scale).items()
        }

    def resampler(self, rows: Rows, units: Units) -> Resampler:
        tables = {}
        for scale, (prediction, label) in self._scales(rows).items():
            # About the mean of all rows, near which the mean of every replicate lies.
            centred = label - (np.average(label, weights=rows.weight) if len(label) else 0.0)
            error = prediction - label
            columns = np.stack([np.ones(len(rows)), centred, centred**2, error**2, np.abs(error)], axis=1)
            tables[scale] = sum_by_unit(columns * rows.weight[:, None], units)
        return lambda counts: {
            name: value for scale, table in tables.items() for name, value in _values(counts @ table, scale).items()
        }

    def _update(self, rows: Rows) -> None:
        for scale, (prediction, label) in self._scales(rows).items():
            self._moments[scale].merge(_Moments.of(prediction, label, rows.weight))

    def _merge(self, other: RegressionMetrics) -> None:
        for scale, moments in self._moments.items():
            moments.merge(other._moments[scale])

    def _scales(self, rows: Rows) -> dict[str, tuple[FloatArray, FloatArray]]:
        if rows.prediction.ndim != 1:
            raise ValueError("a regression metric takes one number a row")
        scales = {"": (rows.prediction, rows.label)}
        if self._log1p:
            if (rows.label < 0).any() or (rows.prediction < 0).any():
                raise ValueError("log1p errors need labels and predictions of at least 0")
            scales["_log1p"] = (np.log1p(rows.prediction), np.log1p(rows.label))
        return scales


def _values(sums: FloatArray, scale: str) -> dict[str, FloatArray]:
    """From `[..., 5]`: weight, and the sums of d, d squared (label minus a constant), squared, absolute error."""
    weight, first, second, squared, absolute = (sums[..., column] for column in range(5))
    deviation = second - ratio(first**2, weight, 0.0)
    deviation = np.where(deviation > _ROUNDING * second, deviation, 0.0)
    return {
        f"rmse{scale}": np.sqrt(ratio(squared, weight)),
        f"mae{scale}": ratio(absolute, weight),
        f"r2{scale}": 1.0 - ratio(squared, deviation),
    }
