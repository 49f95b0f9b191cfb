"""How much of the AUC a plain join would have faked, and whether that is more than noise.

Two things make an AUC move by chance. Another test part would give another value: paired bootstrap over rows, or over
whole groups. Another seed would train another model: the variance of the AUC over seeds, pooled over all models of the
task, counted for both models as if their seeds were independent (they share them, so this errs on the wide side). The
half width of an interval is

    z * sqrt(bootstrap variance + 2 * variance over seeds / seeds)

where z is so large that all intervals of the check hold at once with the given confidence (Bonferroni): with twenty of
them, one in twenty would otherwise find a leak where none is. With one seed the second variance is not known and counts
as 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mtl_ray.evaluation.bootstrap import bootstrap_intervals
from mtl_ray.leak_check.auc_difference import AucDifference
from mtl_ray.leak_check.result import Inflation, Verdict
from mtl_ray.leak_check.short_training import Scores
from mtl_ray.metrics import RankingMetrics
from mtl_ray.metrics.metric import Array

REPLICATES = 200
FEWEST = 10
"""Test rows of each class below which nothing is said: so few neither rank nor resample."""

_ONE_SIGMA = 0.6827
"""Half the width of this interval is one standard error."""


@dataclass(frozen=True)
class _Pair:
    """One task's n test rows that both training sets hold, and the predictions `[n, S]` of both."""

    label: Array
    group: Array | None
    exact: Array
    naive: Array

    @property
    def judged(self) -> bool:
        """Whether there are enough rows of each class."""
        positive = int(self.label.sum())
        return min(positive, len(self.label) - positive) >= FEWEST

    @property
    def aucs(self) -> tuple[list[float], list[float]]:
        """By seed: point-in-time, naive."""
        exact, naive = ([_auc(column, self.label) for column in side.T] for side in (self.exact, self.naive))
        return exact, naive


def inflations(
    exact: Scores, naive: Mapping[str, Scores], tasks: Sequence[str], *, confidence: float, seed: int
) -> dict[str, dict[str, Inflation]]:
    """Variant -> task -> inflation, for the scores of the variants and of the point-in-time training.

    A row that one training set holds and the other does not (its contract put it into quarantine) is left out of both.
    """
    pairs = {(name, task): _pair(exact, scores, task) for name, scores in naive.items() for task in tasks}
    aucs = {key: pair.aucs for key, pair in pairs.items()}
    judged = sum(pair.judged for pair in pairs.values())
    z = NormalDist().inv_cdf(1.0 - (1.0 - confidence) / 2.0 / max(judged, 1))
    noise = {}
    for task in tasks:
        sets = [aucs[name, task] for name in naive]
        models = [sets[0][0], *(after for _, after in sets)]
        noise[task] = _variance_over_seeds(models)
    found: dict[str, dict[str, Inflation]] = {name: {} for name in naive}
    for (name, task), pair in pairs.items():
        found[name][task] = _inflation(pair, aucs[name, task], noise[task], z, seed)
    return found


def unchanged(of: Inflation | None) -> Inflation:
    """The inflation by a view whose values the join does not change; `of`: any of the same task that was trained."""
    auc, rows = (None, None) if of is None else (of.point_in_time, of.rows)
    return Inflation(rows=rows, point_in_time=auc, naive=auc, inflation=0.0, low=0.0, high=0.0, verdict="none")


def _pair(exact: Scores, naive: Scores, task: str) -> _Pair:
    _, mine, theirs = np.intersect1d(exact.row_id, naive.row_id, assume_unique=True, return_indices=True)
    kept = exact.observed[task][mine]
    mine, theirs = mine[kept], theirs[kept]
    group = None if exact.group is None else exact.group[mine]
    return _Pair(exact.label[task][mine], group, exact.prediction[task][mine], naive.prediction[task][theirs])


def _auc(prediction: Array, label: Array) -> float:
    metric = RankingMetrics()
    metric.update(prediction, label)
    return metric.compute()["roc_auc"]


def _variance_over_seeds(models: Sequence[Sequence[float]]) -> float:
    """Mean over the models of the variance of their AUC over seeds; 0 with one seed."""
    values = np.array(models)
    if values.shape[1] < 2:
        return 0.0
    return float(np.var(values, axis=1, ddof=1).mean())


def _inflation(pair: _Pair, aucs: tuple[list[float], list[float]], noise: float, z: float, seed: int) -> Inflation:
    rows, seeds = len(pair.label), len(aucs[0])
    before, after = (float(np.mean(values)) for values in aucs)
    metric = AucDifference(2 * seeds)
    both = np.concatenate([pair.exact, pair.naive], axis=1)
    interval = None
    if pair.judged:
        interval = bootstrap_intervals(
            metric, both, pair.label, group=pair.group, replicates=REPLICATES, confidence=_ONE_SIGMA, seed=seed
        )["difference"]
    if interval is None:
        return Inflation(
            rows=rows, point_in_time=None, naive=None, inflation=None, low=None, high=None, verdict="not defined"
        )
    error = (interval.high - interval.low) / 2.0
    half = z * float(np.sqrt(error**2 + 2.0 * noise / seeds))
    difference = after - before
    low, high = difference - half, difference + half
    verdict: Verdict = "leak" if low > 0 else "lower" if high < 0 else "within noise"
    return Inflation(
        rows=rows, point_in_time=before, naive=after, inflation=difference, low=low, high=high, verdict=verdict
    )
