"""What every weighting's config has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from mtl_ray.schema import Settings
from mtl_ray.tasks.task import TaskSettings
from mtl_ray.weighting.weighting import Weighting, WeightingContext


class WeightingSettings(Settings, ABC):
    """`weighting` of the config; `name` and what the method needs are added by each."""

    needs_norms: ClassVar[bool] = False
    """Whether it reads the lengths of the tasks' gradients."""

    @abstractmethod
    def build(self, context: WeightingContext) -> Weighting:
        """The weighting before the first step, on the CPU."""

    def check_tasks(self, tasks: Mapping[str, TaskSettings]) -> None:
        """Raise `ConfigError` where the method cannot weigh these tasks."""
