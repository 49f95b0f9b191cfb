"""What a search looks for: one validation metric, a weighted sum of several, or several with a front between them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mtl_ray.metrics import GREATER_IS_BETTER

TOTAL_LOSS = "validation/loss"

Declared = str | dict[str, float] | tuple[str, ...]
"""How the space file says it."""


@dataclass(frozen=True)
class Target:
    """One number that is to become as large, or as small, as can be."""

    name: str
    terms: Mapping[str, float]
    """Validation metric -> factor."""
    greater_is_better: bool

    def value(self, metrics: Mapping[str, Any]) -> float:
        """Of a trial's validation metrics; NaN where one of them is not defined."""
        return math.fsum(factor * float(metrics.get(metric, math.nan)) for metric, factor in self.terms.items())

    def score(self, value: float) -> float:
        """`value`, turned so that larger is better."""
        return value if self.greater_is_better else -value


@dataclass(frozen=True)
class Objective:
    """One target, or several of which none is to be worse than need be."""

    targets: tuple[Target, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the targets."""
        return tuple(target.name for target in self.targets)

    @property
    def single(self) -> bool:
        """Whether the trials have one order."""
        return len(self.targets) == 1

    @property
    def metrics(self) -> set[str]:
        """Every validation metric that is read."""
        return {metric for target in self.targets for metric in target.terms}

    def values(self, metrics: Mapping[str, Any]) -> tuple[float, ...]:
        """Of every target, from a trial's validation metrics."""
        return tuple(target.value(metrics) for target in self.targets)

    def scores(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """`values`, turned so that larger is better."""
        return tuple(target.score(value) for target, value in zip(self.targets, values, strict=True))


def objective_of(declared: Declared, task_weights: Mapping[str, float]) -> Objective:
    """The objective as declared.

    Args:
        declared: a metric, a mapping of metrics to the weights of a sum, or several metrics. In a sum every metric
            counts the way it improves: a larger sum is better.
        task_weights: the config's. `validation/loss` adds the tasks' losses with these, in every trial alike: with a
            trial's own weights a trial would win by giving the tasks none.
    """
    if isinstance(declared, dict):
        return Objective((_sum(declared, task_weights),))
    names = (declared,) if isinstance(declared, str) else declared
    return Objective(tuple(_metric(name, task_weights) for name in names))


def _metric(name: str, task_weights: Mapping[str, float]) -> Target:
    return Target(name, _terms(name, task_weights), greater_is_better(name))


def _sum(weights: Mapping[str, float], task_weights: Mapping[str, float]) -> Target:
    terms: dict[str, float] = {}
    for name, weight in weights.items():
        sign = 1.0 if greater_is_better(name) else -1.0
        for metric, factor in _terms(name, task_weights).items():
            terms[metric] = terms.get(metric, 0.0) + sign * weight * factor
    words = " ".join(
        f"{'+' if greater_is_better(name) else '−'} {weight:g}·{name.removeprefix('validation/')}"
        for name, weight in weights.items()
    )
    return Target(words.removeprefix("+ "), terms, True)


def _terms(name: str, task_weights: Mapping[str, float]) -> dict[str, float]:
    if name != TOTAL_LOSS:
        return {name: 1.0}
    return {f"validation/{task}/loss": weight for task, weight in task_weights.items() if weight > 0.0}


def greater_is_better(metric: str) -> bool:
    """Which way a validation metric improves."""
    return GREATER_IS_BETTER.get(metric.rsplit("/", 1)[-1], False)
