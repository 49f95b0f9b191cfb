"""Configs that are compared read the same rows, encoded alike: anything else would compare data sets, not models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mtl_ray.config import Config
from mtl_ray.data.snapshot_id import labelling
from mtl_ray.data.training_set_config import NOT_IN_SHARDS
from mtl_ray.errors import ConfigError


def check_one_training_set(configs: Sequence[Config]) -> None:
    """Raise `ConfigError` unless all configs describe one training set under names of their own.

    They may differ in whatever no byte of it depends on: model, weighting, training, task weights, losses.
    """
    first, *others = configs
    for other in others:
        found = _first_difference(_described(first), _described(other))
        if found is not None:
            key, one, another = found
            raise ConfigError(
                "The configs describe different training sets, so their metrics cannot be compared.",
                where=key,
                found=f"{one!r} in {first.name}, {another!r} in {other.name}",
                allowed="the same features, training_set, tasks and evaluation.group_by in all of them",
                fix=f"an override sets it in all configs: {key}=...",
            )
    names = [config.name for config in configs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                "Two of the configs have the same name.",
                where="name",
                found=", ".join(names),
                allowed="a name of its own for each",
                fix="rename one of them in its file",
            )


def _described(config: Config) -> dict[str, Any]:
    kept = NOT_IN_SHARDS - {"spine"}
    return {
        "features": config.features.model_dump(mode="json"),
        "training_set": config.training_set.model_dump(mode="json", exclude=kept),
        "tasks": {name: {**labelling(task), "label": task.label_column(name)} for name, task in config.tasks.items()},
        "evaluation": {"group_by": config.evaluation.group_by},
    }


def _first_difference(one: Any, another: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """Dotted key and both values of the first leaf in which two trees differ."""
    if not (isinstance(one, dict) and isinstance(another, dict)):
        return None if one == another else (key, one, another)
    if one.keys() != another.keys():
        return key, ", ".join(one), ", ".join(another)
    for name, value in one.items():
        found = _first_difference(value, another[name], f"{key}.{name}" if key else name)
        if found is not None:
            return found
    return None
