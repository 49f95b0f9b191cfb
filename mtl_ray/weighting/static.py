"""Fixed task weights: the weighted sum."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mtl_ray.weighting.settings import WeightingSettings
from mtl_ray.weighting.weighting import StepLosses, Weighting, WeightingContext


class StaticWeightingConfig(WeightingSettings):
    """`weighting: {name: static}`: the weights are the tasks' own `weight`."""

    name: Literal["static"] = "static"

    def build(self, context: WeightingContext) -> StaticWeighting:
        return StaticWeighting(context)


class StaticWeighting(Weighting):
    """sum over t of w_t * L_t."""

    reads_losses = False

    def weights(self, losses: StepLosses) -> Tensor:  # noqa: ARG002
        return self.task_weights
