"""How well predictions order rows by amount."""

from __future__ import annotations

import numpy as np

from mtl_ray.metrics.metric import FloatArray, Metric, Resampler, Rows, Units
from mtl_ray.metrics.score_counts import ScoreCounts


class GiniMetrics(Metric):
    """`normalized_gini` of predicted amounts against labels of at least 0.

    Rows in falling order of prediction, the curve of (share of rows, share of the labels' sum) encloses an area with
    the diagonal; this is that area over the same area with the rows in falling order of label. 1: the order is
    perfect, 0: it is by chance, rows of equal prediction being in every order alike. Source: Wang, Liu and Miao 2019
    (A deep probabilistic model for customer lifetime value prediction), section 4.2. NaN unless labels differ.
    """

    def __init__(self) -> None:
        self._by_prediction = ScoreCounts()
        self._by_label = ScoreCounts()

    def compute(self) -> dict[str, float]:
        predicted, labelled = self._by_prediction.table(), self._by_label.table()
        area = _area(predicted.positive + predicted.negative, predicted.positive)
        return {"normalized_gini": _ratio(area, _area(labelled.negative, labelled.negative * labelled.score))}

    def resampler(self, rows: Rows, units: Units) -> Resampler:
        _check(rows)
        # Both orders are the same in every replicate.
        orders = [np.argsort(rows.prediction, kind="stable"), np.argsort(rows.label, kind="stable")]
        starts = [_starts(scores[order]) for scores, order in zip((rows.prediction, rows.label), orders, strict=True)]

        def resample(counts: FloatArray) -> dict[str, FloatArray]:
            values = []
            for count in counts:
                weight = count[units.of_row] * rows.weight
                areas = [
                    _tied_area(weight[order], rows.label[order], at) for order, at in zip(orders, starts, strict=True)
                ]
                values.append(_ratio(*areas))
            return {"normalized_gini": np.array(values)}

        return resample

    def _update(self, rows: Rows) -> None:
        _check(rows)
        self._by_prediction.append(rows.prediction, rows.label, rows.weight)
        self._by_label.append(rows.label, np.zeros(len(rows)), rows.weight)

    def _merge(self, other: GiniMetrics) -> None:
        self._by_prediction.merge(other._by_prediction)
        self._by_label.merge(other._by_label)


def _check(rows: Rows) -> None:
    if rows.prediction.ndim != 1:
        raise ValueError("a Gini index takes one prediction a row")
    if (rows.label < 0).any():
        raise ValueError("a Gini index takes labels of at least 0")


def _starts(scores: FloatArray) -> np.ndarray:
    if not len(scores):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))


def _tied_area(weight: FloatArray, label: FloatArray, starts: np.ndarray) -> float:
    if not len(starts):
        return np.nan
    return _area(np.add.reduceat(weight, starts), np.add.reduceat(weight * label, starts))


def _area(weight: FloatArray, amount: FloatArray) -> float:
    """Area between curve and diagonal, from the weights and weighted label sums at rising scores, `[m]` each."""
    rows, total = float(weight.sum()), float(amount.sum())
    if rows <= 0.0 or total <= 0.0:
        return np.nan
    # Twice the area below the curve of a rising order: sum of x steps * (y before + y after).
    after = np.cumsum(amount)
    below = float(weight @ (2.0 * after - amount)) / (rows * total)
    return 0.5 * (1.0 - below)


_ROUNDING = 1e-12


def _ratio(area: float, best: float) -> float:
    return area / best if best > _ROUNDING else np.nan
