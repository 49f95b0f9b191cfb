"""Fixed task weights: the weighted sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from mtl_ray.schema import Settings
from mtl_ray.weighting.weighting import Weighting


class StaticWeightingConfig(Settings):
    """`weighting: {name: static}`: the weights are the tasks' own `weight`."""

    name: Literal["static"] = "static"

    def build(self, task_weights: Mapping[str, float]) -> StaticWeighting:
        """`task_weights` in task order."""
        return StaticWeighting(task_weights)


class StaticWeighting(Weighting):
    """sum over t of w_t * L_t."""

    def weights(self) -> Tensor:
        return self.task_weights
