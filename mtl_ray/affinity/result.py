"""What a measurement of affinity found."""

from __future__ import annotations

from typing import Any, Literal

from mtl_ray.schema import Settings

Verdict = Literal["better", "within noise", "together"]
"""better: the whole interval of `Grouping.gain` lies above 0. within noise: it does not. together: the best grouping is
all tasks in one group."""


class Estimate(Settings):
    """A value and its interval; None where nothing was measured."""

    value: float | None
    low: float | None
    high: float | None


class Grouping(Settings):
    """The best way to train the tasks in a few groups."""

    most: int
    """Number of groups that were allowed."""
    groups: tuple[tuple[str, ...], ...]
    served: dict[str, int]
    """Task -> position of the group whose model is to be used for it."""
    score: Estimate
    """Sum over tasks of the affinity of the group that serves it."""
    wins: float
    """Share of the bootstrap samples in which no other grouping scores higher."""
    gain: Estimate
    """Score less that of all tasks together, on steps that the grouping was not chosen by: see
    `mtl_ray.affinity.evidence`."""
    runner_up: tuple[tuple[str, ...], ...] | None
    """The next best grouping; None where there is no other."""
    runner_up_score: float | None
    lead: Estimate | None
    """Score less that of the runner-up."""
    verdict: Verdict


Matrix = tuple[tuple[Estimate, ...], ...]
"""Row: the task whose step it is. Column: the task whose loss is looked at."""

Means = tuple[tuple[float | None, ...], ...]


class TaskAffinity(Settings):
    """The result of one training."""

    name: str
    tasks: tuple[str, ...]
    every: int
    training_steps: int
    steps: int
    """Measured ones."""
    replicates: int
    confidence: float
    block: int
    """Measured steps in a row that the bootstrap draws together."""
    affinity: Matrix
    thirds: dict[Literal["early", "middle", "late"], Means]
    """Mean affinity in each third of the measured steps."""
    together: Estimate
    """Score of all tasks in one group."""
    groupings: tuple[Grouping, ...]
    run: str
    page: str | None = None

    @property
    def best(self) -> Grouping | None:
        """The grouping of the largest gain among those that beat all tasks together."""
        better = [grouping for grouping in self.groupings if grouping.verdict == "better"]
        return max(better, key=lambda grouping: grouping.gain.value or 0.0) if better else None

    def summary(self) -> dict[str, Any]:
        """What the job prints; JSON types only."""
        best = self.best
        proposed = [list(group) for group in best.groups] if best is not None else [list(self.tasks)]
        return {"proposed": proposed, **self.model_dump(mode="json")}
