"""Points of a search space: drawn by Optuna, listed for a grid, turned back into Optuna's parameters, or just corners.

Optuna sees a choice as the JSON of its value, a simplex as one number a task in (0, 1) whose negative logarithms are
normalised (so that uniform numbers give a uniform simplex), and a conditional parameter under a name of its own.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from mtl_ray.tuning.parameters import Choice, IntRange, LogUniform, Parameter, Simplex, Uniform

Values = dict[str, Any]
"""Dotted config key -> value."""

Space = Mapping[str, Parameter]

MOST_COMBINATIONS = 256
"""Up to so many combinations of choices and corners are all checked; of more, each by itself."""

_OPEN = 1e-9

_SHARE = FloatDistribution(_OPEN, 1.0 - _OPEN)
"""Of a simplex, one a task."""


def drawn(space: Space, trial: BaseTrial) -> Values:
    """A point that `trial` suggests."""

    def suggest(name: str, distribution: BaseDistribution, _: Any) -> Any:
        if isinstance(distribution, CategoricalDistribution):
            return trial.suggest_categorical(name, distribution.choices)
        if isinstance(distribution, IntDistribution):
            return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
        assert isinstance(distribution, FloatDistribution)
        return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)

    return _walk(space, None, suggest)


def as_optuna(space: Space, values: Values) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Optuna's parameters and distributions of a point, of those keys that `values` has.

    Raises ValueError, naming the key, where a value lies outside of the space.
    """
    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}

    def note(name: str, distribution: BaseDistribution, raw: Any) -> Any:
        if raw is not None:
            if isinstance(distribution, FloatDistribution | IntDistribution):
                _check_between(name, raw, distribution.low, distribution.high)
            params[name], distributions[name] = raw, distribution
        return raw

    _walk(space, values, note)
    return params, distributions


def _check_between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}: {value} is not between {low:g} and {high:g}")


def key_of(name: str) -> str:
    """Config key of an Optuna parameter."""
    return name.partition(" [")[0]


def is_weight(key: str) -> bool:
    """Whether a config key is a task's weight."""
    return key.startswith("tasks.") and key.endswith(".weight")


def _walk(
    space: Space, known: Values | None, choose: Callable[[str, BaseDistribution, Any], Any], under: str = ""
) -> Values:
    """Choose a raw value for each parameter that counts; `known` values come along as the raw ones that give them."""
    values: Values = {}
    for key, parameter in space.items():
        name = key + under
        if isinstance(parameter, Simplex):
            values |= _simplex(parameter, known, choose, under)
            continue
        raw = None if known is None or key not in known else _raw(parameter, key, known[key])
        raw = choose(name, _distribution(parameter), raw)
        if raw is None:
            continue
        values[key] = json.loads(raw) if isinstance(parameter, Choice) else raw
        if isinstance(parameter, Choice):
            below = parameter.conditional(values[key])
            values |= _walk(below, known, choose, _below(under, key, values[key]))
    return values


def _below(under: str, key: str, value: Any) -> str:
    """What the names of the parameters end in that only count where `key` has `value`. All that stands above them is
    named: the same key may stand below several values, with another range."""
    return f"{under} [{key}={value}]"


def every_parameter(
    space: Space, condition: tuple[str, Any] | None = None, under: str = ""
) -> Iterator[tuple[str, BaseDistribution, tuple[str, Any] | None]]:
    """All of Optuna's parameters that a trial may have, those above first: name, distribution, and for one that is
    conditional the name of the choice right above it and the raw value which that must have."""
    for key, parameter in space.items():
        if isinstance(parameter, Simplex):
            yield from ((name + under, _SHARE, condition) for name in _weights(parameter))
            continue
        yield key + under, _distribution(parameter), condition
        if isinstance(parameter, Choice):
            for value, raw in zip(parameter.choice, _categories(parameter), strict=True):
                yield from every_parameter(parameter.conditional(value), (key + under, raw), _below(under, key, value))


def _weights(parameter: Simplex) -> list[str]:
    return [f"tasks.{task}.weight" for task in parameter.simplex]


def _simplex(
    parameter: Simplex, known: Values | None, choose: Callable[[str, BaseDistribution, Any], Any], under: str
) -> Values:
    keys = _weights(parameter)
    raws: list[Any] = [None] * len(keys)
    if known is not None and all(key in known for key in keys):
        total = math.fsum(float(known[key]) for key in keys)
        if min(float(known[key]) for key in keys) < 0.0 or not math.isclose(total, parameter.sum, rel_tol=1e-6):
            raise ValueError(f"{', '.join(keys)}: not negative, with the sum {parameter.sum:g}; found {total:g}")
        shares = [float(known[key]) / total for key in keys]
        raws = [min(max(math.exp(-share * len(keys)), _OPEN), 1.0 - _OPEN) for share in shares]
    raws = [choose(key + under, _SHARE, raw) for key, raw in zip(keys, raws, strict=True)]
    if any(raw is None for raw in raws):
        return {}
    logs = [-math.log(raw) for raw in raws]
    return {key: parameter.sum * log / math.fsum(logs) for key, log in zip(keys, logs, strict=True)}


def _raw(parameter: Parameter, key: str, value: Any) -> Any:
    if isinstance(parameter, Choice):
        raw = json.dumps(value)
        if raw not in _categories(parameter):
            raise ValueError(f"{key}: {raw} is none of {', '.join(_categories(parameter))}")
        return raw
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key}: {value!r} is no number")
    return int(value) if isinstance(parameter, IntRange) else float(value)


def _categories(parameter: Choice) -> tuple[str, ...]:
    return tuple(json.dumps(value) for value in parameter.choice)


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, LogUniform):
        return FloatDistribution(*parameter.loguniform, log=True)
    if isinstance(parameter, Uniform):
        return FloatDistribution(*parameter.uniform)
    if isinstance(parameter, IntRange):
        return IntDistribution(*parameter.int, log=parameter.log)
    assert isinstance(parameter, Choice)
    return CategoricalDistribution(_categories(parameter))


def grid(space: Space) -> list[Values]:
    """Every point of a space of choices and whole numbers, in the order in which they are written, the last fastest."""
    return [_joined(combination) for combination in itertools.product(*(_every(*item) for item in space.items()))]


def _every(key: str, parameter: Parameter) -> list[Values]:
    if isinstance(parameter, IntRange):
        return [{key: value} for value in range(parameter.int[0], parameter.int[1] + 1)]
    if not isinstance(parameter, Choice):
        raise ValueError(f"{key}: a grid has choices and whole numbers")
    return [{key: value, **below} for value in parameter.choice for below in grid(parameter.conditional(value))]


def corners(space: Space) -> Iterator[Values]:
    """Points that together have every choice and both ends of every range: all combinations where they are few."""
    sides = [_sides(*item) for item in space.items()]
    if math.prod(len(side) for side in sides) <= MOST_COMBINATIONS:
        yield from (_joined(combination) for combination in itertools.product(*sides))
        return
    first = [side[0] for side in sides]
    yield _joined(first)
    for at, side in enumerate(sides):
        for other in side[1:]:
            yield _joined([*first[:at], other, *first[at + 1 :]])


def _sides(key: str, parameter: Parameter) -> list[Values]:
    if isinstance(parameter, Simplex):
        return [dict.fromkeys(_weights(parameter), parameter.sum / len(parameter.simplex))]
    if not isinstance(parameter, Choice):
        return [{key: value} for value in parameter.corners()]
    return [{key: value, **below} for value in parameter.choice for below in corners(parameter.conditional(value))]


def _joined(parts: Any) -> Values:
    return {key: value for part in parts for key, value in part.items()}
