"""Weights from learnt uncertainties: Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses
for Scene Geometry and Semantics, CVPR 2018, with the regulariser of Liebel and Körner, Auxiliary Tasks in Multi-Task
Learning, arXiv 1805.06334, 2018."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.weighting.settings import WeightingSettings
from mtl_ray.weighting.weighting import StepLosses, Weighting, WeightingContext

CLASSIFICATION = ("binary", "multiclass", "ordinal", "next_item")
"""Types of tasks whose label is a class."""


class UncertaintyWeightingConfig(WeightingSettings):
    """`weighting: {name: uncertainty}`."""

    name: Literal["uncertainty"] = "uncertainty"
    form: Literal["one", "by_type"] = "one"
    """one: half of exp(-s) for every task; by_type: exp(-s) for classification and half of it for regression, as
    Kendall et al. have it."""
    regulariser: Literal["softplus", "log"] = "softplus"
    """softplus: log(1 + sigma^2), after Liebel and Körner; log: log sigma, after Kendall et al., which pays a task
    whose loss nears 0 with a weight without bound."""
    learning_rate: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Of the log variances; null: training.optimizer.learning_rate. The schedule holds for them too; weight decay and
    clip_norm do not."""

    def build(self, context: WeightingContext) -> UncertaintyWeighting:
        return UncertaintyWeighting(context, self)


class UncertaintyWeighting(Weighting):
    """sum over t of w_t * (c_t exp(-s_t) * L_t + R(s_t)) with s_t = log sigma_t^2 learnt, 0 at the start, for tasks
    that some rank has observed.

    c_t is 1/2 (equation 7 of Kendall et al. for regression), or with `by_type` 1 for classification (their equation
    10). R is log(1 + exp(s_t)) (equation 2 of Liebel and Körner) or s_t / 2 = log sigma_t (Kendall et al.). The
    config's w_t multiplies the regulariser too, so that s_t does not learn to undo it.
    """

    factors: Tensor
    """c_t, float64 `[T]`."""

    def __init__(self, context: WeightingContext, config: UncertaintyWeightingConfig) -> None:
        super().__init__(context)
        self.learning_rate = config.learning_rate
        self._softplus = config.regulariser == "softplus"
        classes = [config.form == "by_type" and context.types.get(task) in CLASSIFICATION for task in self.tasks]
        factors = torch.where(torch.tensor(classes), 1.0, 0.5).double()
        self.register_buffer("factors", factors, persistent=False)
        self.log_variances = nn.Parameter(torch.zeros(len(self.tasks), dtype=torch.float64))

    def weights(self, losses: StepLosses) -> Tensor:  # noqa: ARG002
        return self.task_weights * self.factors * torch.exp(-self.log_variances.detach())

    def objective(self, losses: StepLosses, norms_T: Tensor | None) -> Tensor:  # noqa: ARG002
        regulariser_T = F.softplus(self.log_variances) if self._softplus else self.log_variances / 2
        each_T = self.factors * torch.exp(-self.log_variances) * losses.values + regulariser_T
        return torch.where(losses.observed, self.task_weights * each_T, 0.0).sum()
