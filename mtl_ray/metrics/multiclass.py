"""Quality of class probabilities."""

from __future__ import annotations

import numpy as np

from mtl_ray.metrics.additive import AdditiveMetric, class_labels, ratio
from mtl_ray.metrics.metric import FloatArray, Rows


class MulticlassMetrics(AdditiveMetric):
    """`log_loss`, `accuracy`, `top{k}_accuracy` and `macro_f1` of probabilities `[n, C]` against class indices.

    - `log_loss`: clipping as in `LogLossMetrics`; probabilities are taken as they are, not normalised again.
    - `accuracy`, `macro_f1`: the predicted class is the first of the most probable ones. `macro_f1` is the mean F1
      of the classes that occur among labels or predictions (scikit-learn's default).
    - `top{k}_accuracy`: k = min(3, C - 1), absent when that is 1; of equally probable classes the later one ranks
      first, as in `sklearn.metrics.top_k_accuracy_score`.
    """

    def __init__(self, num_classes: int) -> None:
        if num_classes < 2:
            raise ValueError(f"at least 2 classes, got {num_classes}")
        super().__init__(2 + 3 * num_classes)
        self._classes = num_classes
        self._k = min(3, num_classes - 1)

    def settings(self) -> tuple[int]:
        return (self._classes,)

    def contributions(self, rows: Rows) -> FloatArray:
        label = class_labels(rows, self._classes)
        row = np.arange(len(rows))
        own = rows.prediction[row, label][:, None]
        later = np.arange(self._classes)[None, :] > label[:, None]
        rank = ((rows.prediction > own) | ((rows.prediction == own) & later)).sum(axis=1)
        chosen = rows.prediction.argmax(axis=1) if len(rows) else label
        out = np.zeros((len(rows), 2 + 3 * self._classes))
        out[:, 0] = -np.log(np.clip(own[:, 0], rows.epsilon, 1.0 - rows.epsilon))
        out[:, 1] = rank < self._k
        out[row, 2 + label] = 1.0
        out[row, 2 + self._classes + chosen] = 1.0
        out[row, 2 + 2 * self._classes + label] = chosen == label
        return out

    def values(self, sums: FloatArray) -> dict[str, FloatArray]:
        labelled, chosen, hit = np.split(sums[..., 2:], 3, axis=-1)
        weight = labelled.sum(axis=-1)
        present = ((labelled + chosen) > 0).sum(axis=-1).astype(np.float64)
        f1 = ratio(2.0 * hit, labelled + chosen, 0.0).sum(axis=-1)
        values = {"accuracy": ratio(hit.sum(axis=-1), weight)}
        if self._k > 1:
            values[f"top{self._k}_accuracy"] = ratio(sums[..., 1], weight)
        values["macro_f1"] = ratio(f1, present)
        values["log_loss"] = ratio(sums[..., 0], weight)
        return values
