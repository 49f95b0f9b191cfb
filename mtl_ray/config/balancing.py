"""Whether model, weighting and aggregation go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from mtl_ray.aggregation import AggregationSettings, SumConfig
from mtl_ray.errors import ConfigError
from mtl_ray.models import ModelConfig
from mtl_ray.models.settings import ModelSettings
from mtl_ray.tasks import NextItemTaskConfig, TaskSettings
from mtl_ray.weighting.settings import WeightingSettings


def check_comparison(
    model: ModelSettings, weighting: WeightingSettings, aggregation: AggregationSettings, tasks: Sequence[str]
) -> None:
    """Raise `ConfigError` where tasks' gradients are to be compared that meet nowhere.

    Args:
        tasks: those of the architecture.
    """
    asks: WeightingSettings | AggregationSettings
    if not isinstance(aggregation, SumConfig):
        aggregation.check_tasks(tasks)
        key, asks, instead = "aggregation", aggregation, "remove aggregation"
    elif weighting.needs_norms:
        key, asks, instead = "weighting", weighting, "choose another weighting"
    else:
        return
    if not type(model).shares:
        raise ConfigError(
            f"The {key} {_name(asks)} compares the tasks' gradients at what they share, and in the architecture "
            f"{_name(model)} they share nothing.",
            where=f"{key}.name",
            found=f"{_name(asks)} with model.name={_name(model)}",
            allowed=_sharing_models(),
            fix=f"choose one of these as model.name, or {instead}",
        )


def check_accumulation(parts: int, model: ModelSettings, tasks: Mapping[str, TaskSettings]) -> None:
    """Raise `ConfigError` where a step in parts would not be the step of the whole batch."""
    if parts == 1:
        return
    next_item = [name for name, task in tasks.items() if isinstance(task, NextItemTaskConfig)]
    if model.norm != "batch" and not next_item:
        return
    what = "model.norm=batch" if model.norm == "batch" else f"tasks.{next_item[0]}, of type next_item,"
    raise ConfigError(
        f"A step cannot be taken in parts: {what} looks at all rows of a batch at once.",
        where="training.accumulate",
        found=parts,
        allowed="1",
        fix="remove training.accumulate, or " + ("choose model.norm=layer" if model.norm == "batch" else "the task"),
    )


def check_affinity(every: int | None, model: ModelSettings, tasks: Mapping[str, TaskSettings]) -> None:
    """Raise `ConfigError` where tasks' affinity is to be measured that share nothing, or of a single one."""
    if every is None:
        return
    if len(tasks) < 2:
        raise ConfigError(
            "Affinity is between tasks, and there is only one.",
            where="tasks",
            found=", ".join(tasks),
            allowed="two tasks or more",
            fix="add a task, or remove training.affinity_every",
        )
    if not type(model).shares:
        raise ConfigError(
            "Tasks affect each other through the parameters that they share, and in the architecture "
            f"{_name(model)} they share nothing.",
            where="model.name",
            found=_name(model),
            allowed=_sharing_models(),
            fix="choose one of these, or remove training.affinity_every",
        )


def _sharing_models() -> str:
    members = get_args(get_args(ModelConfig)[0])
    return ", ".join(_name(member.model_construct()) for member in members if member.shares)


def _name(leaf: ModelSettings | WeightingSettings | AggregationSettings) -> str:
    return str(type(leaf).model_fields["name"].default)
