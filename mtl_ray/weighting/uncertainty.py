"""Weights from learnt uncertainties: Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses
for Scene Geometry and Semantics, CVPR 2018, with the regulariser of Liebel and Körner, Auxiliary Tasks in Multi-Task
Learning, arXiv 1805.06334, 2018."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.schema import Settings
from mtl_ray.weighting.weighting import Weighting


class UncertaintyWeightingConfig(Settings):
    """`weighting: {name: uncertainty}`."""

    name: Literal["uncertainty"] = "uncertainty"
    learning_rate: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Of the log variances; null: training.optimizer.learning_rate. The schedule holds for them too; weight decay and
    clip_norm do not."""

    def build(self, task_weights: Mapping[str, float]) -> UncertaintyWeighting:
        """`task_weights` in task order."""
        return UncertaintyWeighting(task_weights, self.learning_rate)


class UncertaintyWeighting(Weighting):
    """sum over t of w_t * (exp(-s_t) / 2 * L_t + log(1 + exp(s_t))) with s_t = log sigma_t^2 learnt, 0 at the start:
    equation 2 of Liebel and Körner, for tasks that some rank has observed.

    Deviations from Kendall et al.: one form for all tasks, where theirs has exp(-s) L for classification and half of it
    for regression, a factor that s takes up; and log(1 + sigma^2) in place of log sigma, which cannot fall below 0 and
    so does not pay a task whose loss nears 0 with a weight without bound. The config's w_t multiplies the regulariser
    too, so that s_t does not learn to undo it.
    """

    def __init__(self, task_weights: Mapping[str, float], learning_rate: float | None = None) -> None:
        super().__init__(task_weights)
        self.learning_rate = learning_rate
        self.log_variances = nn.Parameter(torch.zeros(len(task_weights), dtype=torch.float64))

    def weights(self) -> Tensor:
        return self.task_weights * torch.exp(-self.log_variances.detach()) / 2

    def forward(self, losses_T: Tensor, global_T: Tensor, observed_T: Tensor) -> Tensor:
        each_T = torch.exp(-self.log_variances) / 2 * global_T.double() + F.softplus(self.log_variances)
        whole = torch.where(observed_T, self.task_weights * each_T, 0.0).sum()
        # The model learns from this rank's losses, s from those of all ranks.
        weights_T = self.weights().to(losses_T.dtype)
        return torch.dot(losses_T - global_T, weights_T) + whole.to(losses_T.dtype)
