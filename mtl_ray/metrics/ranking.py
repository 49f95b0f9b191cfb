"""ROC-AUC and PR-AUC over all rows."""

from __future__ import annotations

import numpy as np

from mtl_ray.metrics.additive import check_binary
from mtl_ray.metrics.metric import FloatArray, Metric, Resampler, Rows, Units
from mtl_ray.metrics.score_counts import ScoreCounts, ScoreTable


class RankingMetrics(Metric):
    """`roc_auc` and `pr_auc` of scores against labels 0 and 1.

    - `roc_auc`: the probability that a positive row scores above a negative one, ties count half (Mann-Whitney);
      NaN unless both classes occur.
    - `pr_auc`: average precision, sum over thresholds of (recall step x precision) without interpolation, as
      `sklearn.metrics.average_precision_score`; NaN without a positive row (scikit-learn: 0 and a warning).
    """

    def __init__(self) -> None:
        self._counts = ScoreCounts()

    def compute(self) -> dict[str, float]:
        table = self._counts.table()
        return _values(table.positive, table.negative)

    def table(self) -> ScoreTable:
        """The distinct scores with their weights: what a ROC curve is drawn from."""
        return self._counts.table()

    def resampler(self, rows: Rows, units: Units) -> Resampler:
        check_binary(rows.label)
        # The order of the scores is the same in every replicate: sort once, then each replicate is two cumulative
        # sums over the rows.
        order = np.argsort(rows.prediction)
        score, unit = rows.prediction[order], units.of_row[order]
        positive = (rows.weight * rows.label)[order]
        negative = (rows.weight * (1.0 - rows.label))[order]
        starts = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1]])) if len(score) else None

        def resample(counts: FloatArray) -> dict[str, FloatArray]:
            replicates = []
            for count in counts:
                drawn = count[unit]
                up, down = drawn * positive, drawn * negative
                if starts is not None and len(starts) < len(score):
                    up, down = np.add.reduceat(up, starts), np.add.reduceat(down, starts)
                replicates.append(_values(up, down))
            return {name: np.array([values[name] for values in replicates]) for name in ("roc_auc", "pr_auc")}

        return resample

    def _update(self, rows: Rows) -> None:
        check_binary(rows.label)
        if rows.prediction.ndim != 1:
            raise ValueError("a ranking metric takes one score a row")
        self._counts.append(rows.prediction, rows.label, rows.weight)

    def _merge(self, other: RankingMetrics) -> None:
        self._counts.merge(other._counts)


def _values(positive: FloatArray, negative: FloatArray) -> dict[str, float]:
    """Both areas from the weights at ascending distinct scores, `[m]` each."""
    positives, negatives = float(positive.sum()), float(negative.sum())
    roc_auc = pr_auc = np.nan
    if positives > 0 and negatives > 0:
        below = np.cumsum(negative) - 0.5 * negative
        roc_auc = float(positive @ below) / (positives * negatives)
    if positives > 0:
        # Rows at or above each score: from the highest score downwards.
        above = np.cumsum(positive[::-1])
        predicted = above + np.cumsum(negative[::-1])
        precision = np.divide(above, predicted, out=np.zeros_like(above), where=predicted > 0)
        pr_auc = float(positive[::-1] @ precision) / positives
    return {"roc_auc": roc_auc, "pr_auc": pr_auc}


def roc_curve(table: ScoreTable) -> tuple[FloatArray, FloatArray]:
    """False and true positive rate at every distinct score, from (0, 0) to (1, 1), `[m + 1]` each.

    Empty arrays unless both classes occur.
    """
    positives, negatives = table.positive.sum(), table.negative.sum()
    if positives == 0 or negatives == 0:
        return np.zeros(0), np.zeros(0)
    true = np.concatenate([[0.0], np.cumsum(table.positive[::-1])]) / positives
    false = np.concatenate([[0.0], np.cumsum(table.negative[::-1])]) / negatives
    return np.minimum(false, 1.0), np.minimum(true, 1.0)
