"""How good a predicted quantile is."""

from __future__ import annotations

import numpy as np

from mtl_ray.metrics.additive import AdditiveMetric, ratio
from mtl_ray.metrics.metric import FloatArray, Rows


class QuantileMetrics(AdditiveMetric):
    """`pinball` and `coverage` of predictions that are to be the label's quantile at `level`.

    - `pinball`: mean of level * (label - prediction) above and (1 - level) * (prediction - label) below, in label
      units, as `sklearn.metrics.mean_pinball_loss`; lowest on average at the true quantile.
    - `coverage`: share of the labels that are not above the prediction; `level` is right.
    """

    def __init__(self, level: float) -> None:
        super().__init__(3)
        self._level = level

    def settings(self) -> tuple[float]:
        return (self._level,)

    def contributions(self, rows: Rows) -> FloatArray:
        if rows.prediction.ndim != 1:
            raise ValueError("a quantile metric takes one number a row")
        above = rows.label - rows.prediction
        loss = np.maximum(self._level * above, (self._level - 1.0) * above)
        return np.stack([np.ones(len(rows)), loss, (above <= 0.0).astype(np.float64)], axis=1)

    def values(self, sums: FloatArray) -> dict[str, FloatArray]:
        return {"pinball": ratio(sums[..., 1], sums[..., 0]), "coverage": ratio(sums[..., 2], sums[..., 0])}
