"""Learnt scales that make the losses alike: the loss balance (IMTL-L) of Liu et al., Towards Impartial Multi-task
Learning, ICLR 2021."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.weighting.settings import WeightingSettings
from mtl_ray.weighting.weighting import StepLosses, Weighting, WeightingContext


class IMTLLWeightingConfig(WeightingSettings):
    """`weighting: {name: imtl_l}`."""

    name: Literal["imtl_l"] = "imtl_l"
    learning_rate: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Of the scales; null: training.optimizer.learning_rate."""

    def build(self, context: WeightingContext) -> IMTLLWeighting:
        return IMTLLWeighting(context, self.learning_rate)


class IMTLLWeighting(Weighting):
    """sum over t of w_t * (exp(s_t) * L_t - s_t), s_t learnt and 0 at the start, for tasks that some rank has observed:
    section 3.2 of the paper with base e. Its minimum in s_t is where the scaled loss is 1.

    The config's w_t multiplies the second term too, so that s_t does not learn to undo it.
    """

    def __init__(self, context: WeightingContext, learning_rate: float | None) -> None:
        super().__init__(context)
        self.learning_rate = learning_rate
        self.log_scales = nn.Parameter(torch.zeros(len(self.tasks), dtype=torch.float64))

    def weights(self, losses: StepLosses) -> Tensor:  # noqa: ARG002
        return self.task_weights * torch.exp(self.log_scales.detach())

    def objective(self, losses: StepLosses, norms_T: Tensor | None) -> Tensor:  # noqa: ARG002
        each_T = torch.exp(self.log_scales) * losses.values - self.log_scales
        return torch.where(losses.observed, self.task_weights * each_T, 0.0).sum()
