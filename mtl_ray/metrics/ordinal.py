"""How far predicted classes are from the right ones, where the classes have an order."""

from __future__ import annotations

import numpy as np

from mtl_ray.metrics.additive import AdditiveMetric, class_labels, ratio
from mtl_ray.metrics.metric import FloatArray, Rows


class OrdinalMetrics(AdditiveMetric):
    """`class_mae` and `quadratic_kappa` of probabilities `[n, C]` of ordered classes against class indices.

    The predicted class is the median of the probabilities, the first class at which their sum reaches one half (of
    all classes it is nearest to the label on average).

    - `class_mae`: mean distance between predicted and right class, in classes.
    - `quadratic_kappa`: 1 - squared distance of predicted and right class over what it would be if they had nothing to
      do with each other, as `sklearn.metrics.cohen_kappa_score(weights="quadratic")`. Source: Cohen 1968, Weighted
      kappa. NaN where all labels and predictions are of one class.
    """

    def __init__(self, num_classes: int) -> None:
        if num_classes < 2:
            raise ValueError(f"at least 2 classes, got {num_classes}")
        super().__init__(num_classes**2)
        self._classes = num_classes

    def settings(self) -> tuple[int]:
        return (self._classes,)

    def contributions(self, rows: Rows) -> FloatArray:
        label = class_labels(rows, self._classes)
        reached = rows.prediction[:, :-1].cumsum(axis=1) >= 0.5
        chosen = np.where(reached.any(axis=1), reached.argmax(axis=1), self._classes - 1)
        out = np.zeros((len(rows), self._classes**2))
        out[np.arange(len(rows)), label * self._classes + chosen] = 1.0
        return out

    def values(self, sums: FloatArray) -> dict[str, FloatArray]:
        table = sums.reshape(*sums.shape[:-1], self._classes, self._classes)
        labelled, chosen = table.sum(axis=-1), table.sum(axis=-2)
        weight = labelled.sum(axis=-1)
        step = np.arange(self._classes)
        distance = np.abs(step[:, None] - step[None, :]).astype(np.float64)
        squared = (table * distance**2).sum(axis=(-2, -1))
        by_chance = (labelled[..., :, None] * chosen[..., None, :] * distance**2).sum(axis=(-2, -1))
        return {
            "class_mae": ratio((table * distance).sum(axis=(-2, -1)), weight),
            "quadratic_kappa": 1.0 - ratio(squared * weight, by_chance),
        }
