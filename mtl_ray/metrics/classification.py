"""Log loss of probabilities, and the quality of yes/no decisions at a threshold."""

from __future__ import annotations

import numpy as np

from mtl_ray.metrics.additive import AdditiveMetric, check_binary, check_probability, ratio
from mtl_ray.metrics.metric import FloatArray, Rows

_ROUNDING = 1e-12


class LogLossMetrics(AdditiveMetric):
    """`log_loss` (nats) and `normalized_entropy` of probabilities against labels 0 and 1.

    - `log_loss`: probabilities are clipped to [eps, 1 - eps], eps = machine epsilon of the dtype in which they come
      (float32: 1.2e-7, float64: 2.2e-16), the rule of `sklearn.metrics.log_loss`.
    - `normalized_entropy`: log loss over that of always predicting the base rate of the same rows; below 1 is
      better than that; NaN when only one class occurs. Source: He et al. 2014, Practical Lessons from Predicting
      Clicks on Ads at Facebook, equation 3.
    """

    def __init__(self) -> None:
        super().__init__(3)

    def contributions(self, rows: Rows) -> FloatArray:
        check_binary(rows.label)
        check_probability(rows.prediction)
        probability = np.clip(rows.prediction, rows.epsilon, 1.0 - rows.epsilon)
        loss = -np.where(rows.label == 1.0, np.log(probability), np.log1p(-probability))
        return np.stack([np.ones(len(rows)), rows.label, loss], axis=1)

    def values(self, sums: FloatArray) -> dict[str, FloatArray]:
        weight, positive, loss = sums[..., 0], sums[..., 1], sums[..., 2]
        rate = ratio(positive, weight)
        # Sums of real weights in two orders differ by rounding: a rate that near to 0 or 1 has one class only.
        inside = (rate > _ROUNDING) & (rate < 1.0 - _ROUNDING)
        safe = np.where(inside, rate, 0.5)
        entropy = np.where(inside, -(safe * np.log(safe) + (1 - safe) * np.log1p(-safe)), 0.0)
        log_loss = ratio(loss, weight)
        return {"log_loss": log_loss, "normalized_entropy": ratio(log_loss, entropy)}


class ThresholdMetrics(AdditiveMetric):
    """`accuracy`, `precision`, `recall` and `f1` of the decision `probability >= threshold`.

    Where precision, recall or f1 would be 0/0 (nothing predicted positive, no positive row) it is 0, scikit-learn's
    default; NaN without rows.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__(4)
        self._threshold = threshold

    def settings(self) -> tuple[float]:
        return (self._threshold,)

    def contributions(self, rows: Rows) -> FloatArray:
        check_binary(rows.label)
        chosen = (rows.prediction >= self._threshold).astype(np.float64)
        return np.stack([np.ones(len(rows)), rows.label, chosen, chosen * rows.label], axis=1)

    def values(self, sums: FloatArray) -> dict[str, FloatArray]:
        weight, positive, chosen, hit = (sums[..., column] for column in range(4))
        none = np.where(weight > 0, 0.0, np.nan)
        wrong = (positive - hit) + (chosen - hit)
        return {
            "accuracy": 1.0 - ratio(wrong, weight),
            "precision": ratio(hit, chosen, 0.0) + none,
            "recall": ratio(hit, positive, 0.0) + none,
            "f1": ratio(2.0 * hit, positive + chosen, 0.0) + none,
        }
