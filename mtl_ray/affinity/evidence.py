"""From measured steps to groupings, and how sure each of them is.

Intervals are bootstrap percentiles over measured steps, drawn in blocks of neighbours, whose affinities are alike
(circular block bootstrap: Politis and Romano 1992). A block has about the cube root of the number of steps.

A grouping that was chosen because it scores highest would look better than it is on the steps that it was chosen by,
and never worse than all tasks together. Its gain is therefore taken from other steps: the blocks are dealt out into two
halves, the best grouping by each half is scored on the other, and the gain is the mean of both. Each half's choice and
the other's score are of the same steps, so that the two gains depend on each other: the ends of the interval are the
means of both intervals' ends. On noise alone, of 2 to 6 tasks and 20 to 200 measured steps, 0 to 4 % of the best pairs
of groups then seem better than all together; by the steps that they were chosen by it would be 5 to 92 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from mtl_ray.affinity.grouping import (
    SAME,
    Best,
    Floats,
    Group,
    best_grouping,
    best_scores,
    group_affinity,
    runner_up,
    score,
    served_by,
)
from mtl_ray.affinity.result import Estimate, Grouping, Matrix, Means, Verdict

REPLICATES = 1000
"""Bootstrap samples behind each interval and share."""

Third = Literal["early", "middle", "late"]
THIRDS: tuple[Third, ...] = ("early", "middle", "late")


class Sampled(NamedTuple):
    """Mean affinity over steps, NaN where no step has any."""

    mean: Floats
    """`[T, T]`."""
    samples: Floats
    """By bootstrap sample, `[R, T, T]`."""


class Evidence:
    """All that is said of M measured steps of T tasks."""

    def __init__(self, affinity_MTT: Floats, confidence: float, seed: int) -> None:
        """
        Args:
            affinity_MTT: NaN where a step has no affinity.
            confidence: of each interval by itself.
        """
        number = len(affinity_MTT)
        self.block = max(1, round(number ** (1 / 3)))
        self._affinity_MTT = affinity_MTT
        self._edges = (50.0 * (1.0 - confidence), 50.0 * (1.0 + confidence))
        self._counts_RM = _drawn(number, self.block, seed)
        self._all = self._sampled(np.ones(number, dtype=bool))
        first = np.arange(number) // self.block % 2 == 0
        self._halves = (self._sampled(first), self._sampled(~first))

    @property
    def matrix(self) -> Matrix:
        """Mean affinities with their intervals."""
        tasks = range(self._affinity_MTT.shape[1])
        mean, samples = self._all
        return tuple(tuple(self._estimate(mean[i, j], samples[:, i, j]) for j in tasks) for i in tasks)

    @property
    def thirds(self) -> dict[Third, Means]:
        """Mean affinities while training went on."""
        parts = zip(THIRDS, np.array_split(self._affinity_MTT, 3), strict=True)
        return {name: _means(_mean(np.ones((1, len(part))), part)[0]) for name, part in parts}

    @property
    def together(self) -> Estimate:
        """Score of all tasks in one group."""
        return self._score((tuple(range(self._affinity_MTT.shape[1])),))

    def groupings(self, names: tuple[str, ...], numbers: tuple[int, ...]) -> tuple[Grouping, ...]:
        """The best grouping of the tasks into at most each of `numbers` groups."""
        highest = best_scores(_filled(self._all.samples), max(numbers))
        return tuple(self._grouping(names, number, highest[number - 1]) for number in numbers)

    def _grouping(self, names: tuple[str, ...], most: int, highest_R: Floats) -> Grouping:
        mean_TT = _filled(self._all.mean)
        winner = best_grouping(mean_TT, most)
        second = runner_up(mean_TT, most, winner)
        served = served_by(mean_TT, winner.groups)
        samples = score(_filled(self._all.samples), winner.groups)
        gain = self._gain(most)
        return Grouping(
            most=most,
            groups=_named(winner, names),
            served=dict(zip(names, served, strict=True)),
            score=self._score(winner.groups),
            wins=float((samples >= highest_R - SAME).mean()),
            gain=gain,
            runner_up=None if second is None else _named(second, names),
            runner_up_score=None if second is None else second.score,
            lead=None if second is None else self._lead(winner, second),
            verdict=_verdict(winner, gain),
        )

    def _gain(self, most: int) -> Estimate:
        """Over all tasks together, by steps that the grouping was not chosen by."""
        found = []
        for at, half in enumerate(self._halves):
            chosen_by = _filled(self._halves[1 - at].mean)
            groups = best_grouping(chosen_by, most).groups
            served = served_by(chosen_by, groups)
            mean = _gain_of(_filled(half.mean)[None], groups, served)
            found.append(self._estimate(float(mean[0]), _gain_of(_filled(half.samples), groups, served)))
        return _mean_of(found)

    def _score(self, groups: tuple[Group, ...]) -> Estimate:
        mean, samples = (_filled(part) for part in self._all)
        return self._estimate(float(score(mean[None], groups)[0]), score(samples, groups))

    def _lead(self, winner: Best, second: Best) -> Estimate:
        samples = _filled(self._all.samples)
        differences = score(samples, winner.groups) - score(samples, second.groups)
        return self._estimate(winner.score - second.score, differences)

    def _sampled(self, used_M: np.ndarray) -> Sampled:
        counts = self._counts_RM * used_M
        mean = _mean(used_M[None].astype(np.float64), self._affinity_MTT)[0]
        return Sampled(mean, _mean(counts, self._affinity_MTT))

    def _estimate(self, value: float, samples_R: Floats) -> Estimate:
        known = samples_R[np.isfinite(samples_R)]
        if not np.isfinite(value) or not len(known):
            return Estimate(value=None, low=None, high=None)
        low, high = np.percentile(known, self._edges)
        return Estimate(value=float(value), low=float(low), high=float(high))


def _mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Mean of the values, and of the ends: an interval that holds however much the estimates depend on each other."""
    values, lows, highs = zip(*((item.value, item.low, item.high) for item in estimates), strict=True)
    return Estimate(value=_mean_or_none(values), low=_mean_or_none(lows), high=_mean_or_none(highs))


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _drawn(number: int, block: int, seed: int) -> Floats:
    """How often each sample has each measured step, `[R, M]`."""
    random = np.random.default_rng(seed)
    starts = random.integers(number, size=(REPLICATES, -(-number // block)))
    steps = ((starts[:, :, None] + np.arange(block)) % number).reshape(REPLICATES, -1)[:, :number]
    return np.stack([np.bincount(row, minlength=number) for row in steps]).astype(np.float64)


def _mean(counts_RM: Floats, affinity_MTT: Floats) -> Floats:
    """Mean over the steps that have a value, each as often as it counts, `[R, T, T]`."""
    flat = affinity_MTT.reshape(len(affinity_MTT), -1)
    number = counts_RM @ np.isfinite(flat)
    total = counts_RM @ np.nan_to_num(flat)
    mean = np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0)
    return mean.reshape(-1, *affinity_MTT.shape[1:])


def _gain_of(affinity_RTT: Floats, groups: tuple[Group, ...], served: tuple[int, ...]) -> Floats:
    """Score less that of all tasks together, each task served by the group that is said, `[R]`."""
    everything = group_affinity(affinity_RTT, tuple(range(affinity_RTT.shape[1])))
    gain = -everything.sum(axis=1)
    for at, group in enumerate(groups):
        own = [position for position, task in enumerate(group) if served[task] == at]
        gain = gain + group_affinity(affinity_RTT, group)[:, own].sum(axis=1)
    return gain


def _filled(affinity: Floats) -> Floats:
    """Tasks that no batch shows together do nothing for each other, as far as one knows."""
    return np.nan_to_num(affinity)


def _means(mean_TT: Floats) -> Means:
    return tuple(tuple(float(value) if np.isfinite(value) else None for value in row) for row in mean_TT)


def _named(best: Best, names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(names[task] for task in group) for group in best.groups)


def _verdict(winner: Best, gain: Estimate) -> Verdict:
    if len(winner.groups) == 1:
        return "together"
    return "better" if gain.low is not None and gain.low > 0 else "within noise"
