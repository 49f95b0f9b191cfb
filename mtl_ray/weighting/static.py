"""Fixed task weights: the weighted sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
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

    task_weights: Tensor
    """float64 `[T]`; not in the state dict, as the config holds it."""

    def __init__(self, task_weights: Mapping[str, float]) -> None:
        super().__init__()
        weights = torch.tensor(list(task_weights.values()), dtype=torch.float64)
        self.register_buffer("task_weights", weights, persistent=False)

    def forward(self, losses_T: Tensor) -> Tensor:
        return torch.dot(losses_T, self.task_weights.to(losses_T.dtype))
