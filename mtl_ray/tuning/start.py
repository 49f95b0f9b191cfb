"""Where a search begins: with the config as it is, with known good points, and with what other searches found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from mtl_ray.config import Config
from mtl_ray.errors import ConfigError
from mtl_ray.tuning.folder import SearchFolder
from mtl_ray.tuning.objective import Objective
from mtl_ray.tuning.parameters import Choice, Parameter, Simplex
from mtl_ray.tuning.points import Space, Values, as_optuna, grid
from mtl_ray.tuning.resolve import in_words
from mtl_ray.tuning.searcher import ChosenSearcher
from mtl_ray.tuning.settings import SearchSettings

Say = Callable[[str], None]


def with_totals(settings: SearchSettings, weights: Mapping[str, float]) -> SearchSettings:
    """`settings` in which every simplex has a sum: where it has none of its own, that of the config's `weights`."""

    def filled(parameter: Parameter) -> Parameter:
        if isinstance(parameter, Simplex) and parameter.total is None:
            total = sum(weights.get(task, 0.0) for task in parameter.simplex)
            return parameter.model_copy(update={"total": total or None})
        return parameter

    return settings.model_copy(update={"space": {key: filled(p) for key, p in settings.space.items()}})


def first_points(config: Config, settings: SearchSettings, number: int, say: Say) -> list[Values]:
    """What the first trials are, at most `number`: all of a grid, or else the config and the declared points.

    Raises ConfigError where a declared point lies outside of the space.
    """
    if settings.searcher == "grid":
        return grid(settings.space)[:number]
    points = []
    if settings.start.default:
        default = values_of(config.model_dump(mode="json"), settings.space)
        try:
            as_optuna(settings.space, default)
            points.append(default)
        except ValueError as error:
            say(f"the config itself is no trial, as it lies outside of the space: {error}")
    for at, point in enumerate(settings.start.values):
        _check_point(point, settings.space, f"start.values[{at}]")
        points.append(point)
    if len(points) > number:
        say(f"of {len(points)} points to start with, {number} are tried")
    return points[:number]


def values_of(tree: Mapping[str, Any], space: Space) -> Values:
    """What a config tree has for the parameters of the space, those that count."""
    values: Values = {}
    for key, parameter in space.items():
        keys = [f"tasks.{task}.weight" for task in parameter.simplex] if isinstance(parameter, Simplex) else [key]
        for name in keys:
            node: Any = tree
            for part in name.split("."):
                node = node.get(part) if isinstance(node, Mapping) else None
            values[name] = node
        if isinstance(parameter, Choice):
            values |= values_of(tree, parameter.conditional(values[key]))
    return values


def _check_point(point: Values, space: Space, where: str) -> None:
    try:
        params, _ = as_optuna(space, point)
    except ValueError as error:
        raise ConfigError("A point to start with lies outside of the space.", where=where, found=str(error)) from None
    if not params:
        raise ConfigError(
            "A point to start with has no value for any parameter of the space.",
            where=where,
            found=in_words(point) or "nothing",
            allowed=", ".join(space),
        )


def learn_searches(
    searcher: ChosenSearcher, settings: SearchSettings, objective: Objective, training_set: str, say: Say
) -> None:
    """Show the trials of the searches in `settings.start` to the searcher.

    Raises ConfigError where one of them ran on another training set than that of the id `training_set`.
    """
    for path in settings.start.searches:
        folder = SearchFolder.open(path)
        found = folder.asked().training_set_id
        if found != training_set:
            raise ConfigError(
                "A search to start from ran on another training set: its values do not compare.",
                where=f"start.searches: {path}",
                found=found,
                allowed=training_set,
                fix="remove it, or give its good points as start.values",
            )
        rows = pq.read_table(folder.trials).to_pylist()
        learnt = sum(_learn(searcher, row, objective) for row in rows if row["status"] == "finished")
        say(f"starting from {learnt} of {len(rows)} trials of {folder.path.name}")


def _learn(searcher: ChosenSearcher, row: Mapping[str, Any], objective: Objective) -> bool:
    metrics: Sequence[float] = objective.values({k: v for k, v in row.items() if v is not None})
    if not all(value == value for value in metrics):
        return False
    try:
        searcher.learn(json.loads(row["values"]), metrics)
    except ValueError:  # of another space
        return False
    return True
