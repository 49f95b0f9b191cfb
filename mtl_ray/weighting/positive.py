"""Losses under a logarithm."""

from __future__ import annotations

from collections.abc import Mapping

from mtl_ray.errors import ConfigError
from mtl_ray.tasks.task import TaskSettings

LEAST_LOSS = 1e-12
"""What a smaller loss counts as."""


def check_positive(method: str, tasks: Mapping[str, TaskSettings]) -> None:
    """Raise `ConfigError` where the loss of a task may be 0 or below however the model predicts."""
    for name, task in tasks.items():
        if task.loss_may_be_negative:
            raise ConfigError(
                f"The weighting {method} takes logarithms of losses, and that of {name} may fall below 0.",
                where="weighting.name",
                found=f"{method}, and tasks.{name}, a likelihood of a density",
                allowed="tasks whose losses are positive",
                fix=f"choose another weighting, such as uncertainty, or another type or loss for {name}",
            )
