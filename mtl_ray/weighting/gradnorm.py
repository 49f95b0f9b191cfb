"""Gradient normalisation: Chen et al., GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask
Networks, ICML 2018."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.weighting.settings import WeightingSettings
from mtl_ray.weighting.weighting import StepLosses, Weighting, WeightingContext

LEAST_WEIGHT = 1e-3
"""A smaller factor would not come back: its gradient no longer shows in the norms."""


class GradNormWeightingConfig(WeightingSettings):
    """`weighting: {name: gradnorm}`."""

    needs_norms: ClassVar[bool] = True

    name: Literal["gradnorm"] = "gradnorm"
    alpha: float = Field(default=1.5, ge=0.0, allow_inf_nan=False)
    """How strongly tasks that learn slowly are pulled; 0: gradients of equal length."""
    learning_rate: float | None = Field(default=0.1, gt=0.0, allow_inf_nan=False)
    """Of the factors; null: training.optimizer.learning_rate."""
    every: int = Field(default=32, ge=1)
    """The factors learn in every n-th step, the first one among them: only there the gradients have to be looked at one
    by one. 1: the paper's, with which its learning rate of 0.025 goes."""

    def build(self, context: WeightingContext) -> GradNormWeighting:
        return GradNormWeighting(context, self)


class GradNormWeighting(Weighting):
    """sum over t of w_t * f_t * L_t, with the factors f_t learnt, 1 at the start. Algorithm 1 of the paper:

        G_t = w_t f_t |gradient of L_t at what the tasks share|,   r_t = (L_t / L_t(first)) / their mean over tasks
        the factors minimise sum over t of |G_t - constant(mean G * r_t ^ alpha)|, and are scaled to sum to T

    Means and sums are over the tasks that some rank has observed. Deviations: the factors learn in every n-th step and
    stay as they are in between; the gradient is taken where tasks are compared (`aggregation.on`: the shared
    representation, or all dense shared parameters), not at one layer's weights; a factor does not fall below 0.001; the
    config's w_t scale the losses, also where they are compared.
    """

    needs_norms: ClassVar[bool] = True

    first: Tensor
    """Losses when they were first observed, float64 `[T]`; NaN before."""
    step: Tensor
    """Steps so far, int64."""

    def __init__(self, context: WeightingContext, config: GradNormWeightingConfig) -> None:
        super().__init__(context)
        self.learning_rate = config.learning_rate
        self._alpha, self._every = config.alpha, config.every
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("first", torch.full((len(self.tasks),), torch.nan, dtype=torch.float64))
        self.factors = nn.Parameter(torch.ones(len(self.tasks), dtype=torch.float64))

    @property
    def wants_norms(self) -> bool:
        return int(self.step) % self._every == 0

    def begin_step(self, losses: StepLosses) -> None:
        self.first.copy_(torch.where(self.first.isnan() & losses.observed, losses.values, self.first))

    def weights(self, losses: StepLosses) -> Tensor:  # noqa: ARG002
        return self.task_weights * self.factors.detach()

    def objective(self, losses: StepLosses, norms_T: Tensor | None) -> Tensor | None:
        if norms_T is None:
            return None
        counted_T = losses.observed & (self.task_weights > 0)
        number = counted_T.sum().clamp(min=1)
        length_T = self.task_weights * norms_T * self.factors
        ratio_T = torch.where(counted_T, losses.values / self.first, 0.0)
        rate_T = ratio_T / (ratio_T.sum() / number).clamp(min=torch.finfo(torch.float64).tiny)
        mean = torch.where(counted_T, length_T, 0.0).sum().detach() / number
        target_T = mean * rate_T.clamp(min=0.0) ** self._alpha
        return torch.where(counted_T, (length_T - target_T).abs(), 0.0).sum()

    @torch.no_grad()
    def end_step(self, losses: StepLosses) -> None:  # noqa: ARG002
        self.factors.clamp_(min=LEAST_WEIGHT)
        self.factors.mul_(len(self.tasks) / self.factors.sum())
        self.step += 1
