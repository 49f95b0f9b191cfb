"""Do probabilities mean what they say."""

from __future__ import annotations

import numpy as np

from mtl_ray.metrics.additive import AdditiveMetric, check_binary, check_probability, ratio
from mtl_ray.metrics.metric import FloatArray, IntArray, Rows

_FIXED = 3


def probability_bin(prediction: FloatArray, bins: int) -> IntArray:
    """Equal-width bin of each probability: bin b holds (b / bins, (b + 1) / bins], the first one 0 too.

    The convention of `sklearn.calibration.calibration_curve` and of Guo et al. 2017.
    """
    return np.searchsorted(np.linspace(0.0, 1.0, bins + 1)[1:-1], prediction)


class CalibrationMetrics(AdditiveMetric):
    """`ece` and `predicted_over_observed` of probabilities against labels 0 and 1.

    - `ece`: expected calibration error, the mean over rows of |mean probability - share of positives| of the row's
      bin (equal-width bins). Source: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3, for
      the probability of the positive class. It is biased upwards in few rows: chance alone separates the two means.
    - `predicted_over_observed`: sum of probabilities over number of positives, 1 is right; NaN without a positive.
    """

    def __init__(self, bins: int = 15) -> None:
        super().__init__(_FIXED + bins)
        self._bins = bins

    def settings(self) -> tuple[int]:
        return (self._bins,)

    def contributions(self, rows: Rows) -> FloatArray:
        check_binary(rows.label)
        check_probability(rows.prediction)
        out = np.zeros((len(rows), _FIXED + self._bins))
        out[:, 0], out[:, 1], out[:, 2] = 1.0, rows.prediction, rows.label
        out[np.arange(len(rows)), _FIXED + probability_bin(rows.prediction, self._bins)] = rows.prediction - rows.label
        return out

    def values(self, sums: FloatArray) -> dict[str, FloatArray]:
        gap = np.abs(sums[..., _FIXED:]).sum(axis=-1)
        return {"ece": ratio(gap, sums[..., 0]), "predicted_over_observed": ratio(sums[..., 1], sums[..., 2])}
