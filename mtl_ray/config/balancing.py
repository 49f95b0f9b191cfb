"""Whether model, weighting and aggregation go together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from mtl_ray.aggregation import AggregationSettings, SumConfig
from mtl_ray.errors import ConfigError
from mtl_ray.models import ModelConfig
from mtl_ray.models.settings import ModelSettings
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
        members = get_args(get_args(ModelConfig)[0])
        raise ConfigError(
            f"The {key} {_name(asks)} compares the tasks' gradients at what they share, and in the architecture "
            f"{_name(model)} they share nothing.",
            where=f"{key}.name",
            found=f"{_name(asks)} with model.name={_name(model)}",
            allowed=", ".join(_name(member.model_construct()) for member in members if member.shares),
            fix=f"choose one of these as model.name, or {instead}",
        )


def _name(leaf: ModelSettings | WeightingSettings | AggregationSettings) -> str:
    return str(type(leaf).model_fields["name"].default)
