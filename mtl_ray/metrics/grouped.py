"""ROC-AUC within groups: how well each user's own items are ordered."""

from __future__ import annotations

import numpy as np

from mtl_ray.metrics.additive import check_binary, ratio
from mtl_ray.metrics.metric import Array, FloatArray, Metric, Resampler, Rows, Units
from mtl_ray.metrics.score_counts import ScoreCounts, ScoreTable


class GroupedRankingMetrics(Metric):
    """`gauc`: the mean of the groups' ROC-AUC, each weighted by the weight of its rows.

    Only groups in which both classes occur count; NaN when there is none.
    Source: Zhu et al. 2017, Optimized Cost per Click in Taobao Display Advertising, section 5.1 (GAUC), with the
    rows (impressions) as weights.
    """

    def __init__(self) -> None:
        self._counts = ScoreCounts()

    def compute(self) -> dict[str, float]:
        _, auc, weight = group_auc(self._counts.table())
        return {"gauc": float(weight @ auc / weight.sum()) if len(auc) else np.nan}

    def resampler(self, rows: Rows, units: Units) -> Resampler:
        if rows.group is None:
            raise ValueError("gauc needs the group of every row")
        table = ScoreCounts()
        table.append(rows.prediction, rows.label, rows.weight, rows.group)
        groups, auc, weight = group_auc(table.table())
        keys, first = np.unique(rows.group, return_index=True)
        unit_of_key = units.of_row[first]
        if not np.array_equal(units.of_row, unit_of_key[np.searchsorted(keys, rows.group)]):
            # A resampling that splits groups changes their AUC: no short cut.
            return super().resampler(rows, units)
        # Whole groups are drawn, so a group's AUC is the same in every replicate; only its multiplicity changes.
        unit_of_group = unit_of_key[np.searchsorted(keys, groups)]
        above = np.bincount(unit_of_group, weights=auc * weight, minlength=units.total)
        total = np.bincount(unit_of_group, weights=weight, minlength=units.total)
        return lambda counts: {"gauc": ratio(counts @ above, counts @ total)}

    def _update(self, rows: Rows) -> None:
        if rows.group is None:
            raise ValueError("gauc needs the group of every row")
        check_binary(rows.label)
        self._counts.append(rows.prediction, rows.label, rows.weight, rows.group)

    def _merge(self, other: GroupedRankingMetrics) -> None:
        self._counts.merge(other._counts)


def group_auc(table: ScoreTable) -> tuple[Array, FloatArray, FloatArray]:
    """Key, ROC-AUC and row weight of every group in which both classes occur, `[G]` each, by ascending key."""
    starts = table.group_starts()
    if not len(starts):
        return table.group, np.zeros(0), np.zeros(0)
    lines = np.diff(np.append(starts, len(table)))
    positives = np.add.reduceat(table.positive, starts)
    negatives = np.add.reduceat(table.negative, starts)
    total = np.cumsum(table.negative)
    before_group = np.repeat(total[starts] - table.negative[starts], lines)
    below = total - before_group - 0.5 * table.negative
    wins = np.add.reduceat(table.positive * below, starts)
    both = (positives > 0) & (negatives > 0)
    auc = wins[both] / (positives[both] * negatives[both])
    return table.group[starts][both], auc, (positives + negatives)[both]
