"""Dynamic weight average: Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, CVPR 2019."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mtl_ray.weighting.settings import WeightingSettings
from mtl_ray.weighting.weighting import StepLosses, Weighting, WeightingContext


class DWAWeightingConfig(WeightingSettings):
    """`weighting: {name: dwa}`."""

    name: Literal["dwa"] = "dwa"
    temperature: float = Field(default=2.0, gt=0.0, allow_inf_nan=False)
    """Larger, and the weights are more alike."""

    def build(self, context: WeightingContext) -> DWAWeighting:
        return DWAWeighting(context, self.temperature)


class DWAWeighting(Weighting):
    """sum over t of w_t * lambda_t * L_t: equation 7 of the paper. With L_t(i) the mean training loss of epoch i,

        lambda_t(i) = T * softmax over the tasks of (L_t(i - 1) / L_t(i - 2) / temperature)

    1 in the first two epochs; the lambdas sum to T, the number of tasks. A ratio that is none (nothing observed in one
    of the epochs, a loss of 0 or below) counts as 1. w_t are the config's weights.
    """

    reads_losses = False

    losses: Tensor
    """Mean losses of the last epoch but one and of the last, float64 `[2, T]`; NaN before there were any."""

    def __init__(self, context: WeightingContext, temperature: float) -> None:
        super().__init__(context)
        self._temperature = temperature
        self.register_buffer("losses", torch.full((2, len(self.tasks)), torch.nan, dtype=torch.float64))

    def weights(self, losses: StepLosses) -> Tensor:  # noqa: ARG002
        before_T, last_T = self.losses
        defined_T = torch.isfinite(before_T) & torch.isfinite(last_T) & (before_T > 0) & (last_T > 0)
        ratio_T = torch.where(defined_T, last_T / before_T, 1.0)
        return self.task_weights * len(self.tasks) * torch.softmax(ratio_T / self._temperature, dim=0)

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        last_T = torch.tensor([losses[task] for task in self.tasks], dtype=torch.float64, device=self.losses.device)
        self.losses.copy_(torch.stack([self.losses[1], last_T]))
