"""The search space as BOHB's generator has it: ConfigSpace's parameters, conditions, and a number for each value.

Parameters have Optuna's names and raw values (`mtl_ray.tuning.points`), but for ranges of numbers: those are positions
in them, from 0 to 1, by the logarithm where the range is. ConfigSpace rounds its numbers to 13 decimal places, which
leaves nothing of a small weight decay.
"""

from __future__ import annotations

import math
from typing import Any

from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    EqualsCondition,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from mtl_ray.tuning.points import Space, Values, as_optuna, drawn, every_parameter

Configured = dict[str, Any]
"""ConfigSpace's name of a parameter that counts -> its value there."""


class BohbSpace:
    """`space`, and its points in both ways of writing them."""

    def __init__(self, space: Space, seed: int) -> None:
        """`seed`: of what is drawn at random."""
        self._space = dict(space)
        self._distributions: dict[str, BaseDistribution] = {}
        self._only: dict[str, Any] = {}
        """Choices of one value, which the generator's densities could not take."""
        self.configurations = ConfigurationSpace(seed=seed)
        above: dict[str, tuple[str, Any] | None] = {}
        for name, distribution, condition in every_parameter(space):
            self._distributions[name] = distribution
            if condition is not None and condition[0] in self._only:
                condition = above[condition[0]]
            if isinstance(distribution, CategoricalDistribution) and len(set(distribution.choices)) == 1:
                self._only[name], above[name] = distribution.choices[0], condition
            elif name not in self.configurations:
                self._add(name, distribution, condition)

    def complete(self, values: Values, configured: Configured | None = None) -> tuple[Values, Configured]:
        """The point that has these `values`; what they leave out is as `configured`, or drawn where that is None.

        Raises ValueError where a value lies outside of the space, or a parameter that counts is in neither.
        """
        if configured is None:
            random = self.configurations.random
            configured = {name: item.sample_value(seed=random) for name, item in self.configurations.items()}
        raw = {name: _raw(self._distributions[name], value) for name, value in configured.items()}
        trial = FixedTrial({**self._only, **raw, **as_optuna(self._space, values)[0]})
        found = drawn(self._space, trial)
        return found, {
            name: _placed(self._distributions[name], value)
            for name, value in trial.params.items()
            if name not in self._only
        }

    def _add(self, name: str, distribution: BaseDistribution, condition: tuple[str, Any] | None) -> None:
        if isinstance(distribution, CategoricalDistribution):
            added: Any = CategoricalHyperparameter(name, list(dict.fromkeys(distribution.choices)))
        elif isinstance(distribution, IntDistribution):
            added = UniformIntegerHyperparameter(name, distribution.low, distribution.high, log=distribution.log)
        else:
            added = UniformFloatHyperparameter(name, 0.0, 1.0)
        self.configurations.add(added)
        if condition is not None:
            above, value = condition
            self.configurations.add(EqualsCondition(added, self.configurations[above], value))


def _raw(distribution: BaseDistribution, value: Any) -> Any:
    if not isinstance(distribution, FloatDistribution):
        return value
    low, high = distribution.low, distribution.high
    if distribution.log:
        found = math.exp(math.log(low) + float(value) * (math.log(high) - math.log(low)))
    else:
        found = low + float(value) * (high - low)
    return min(max(found, low), high)


def _placed(distribution: BaseDistribution, raw: Any) -> Any:
    if not isinstance(distribution, FloatDistribution):
        return raw
    low, high = distribution.low, distribution.high
    if distribution.log:
        return (math.log(raw) - math.log(low)) / (math.log(high) - math.log(low))
    return (raw - low) / (high - low)
