"""Smooth Chebyshev scalarisation: Lin et al., Smooth Tchebycheff Scalarization for Multi-Objective Optimization, ICML
2024."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mtl_ray.weighting.settings import WeightingSettings
from mtl_ray.weighting.weighting import StepLosses, Weighting, WeightingContext


class STCHWeightingConfig(WeightingSettings):
    """`weighting: {name: stch}`."""

    name: Literal["stch"] = "stch"
    mu: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    """Smoothing: near 0, only the task that is worst off learns; large, the weighted sum."""
    relative: bool = True
    """Losses count as multiples of what they were when they were first observed, so that their units do not say which
    task is worst off."""
    ideal: float = 0.0
    """What a (relative) loss is measured from: the paper's z*."""

    def build(self, context: WeightingContext) -> STCHWeighting:
        return STCHWeighting(context, self)


class STCHWeighting(Weighting):
    """mu * log(sum over t of exp(w_t * (f_t - z*) / mu)), equation 5 of the paper with the config's weights as the
    preference, over the tasks that some rank has observed; f_t = L_t, or with `relative` L_t / L_t(first observed).

    Its gradient is that of a weighted sum with the weights softmax(w (f - z*) / mu)_t * w_t * df_t / dL_t. Deviations:
    `relative`, and one z* for all tasks.
    """

    first: Tensor
    """Losses when they were first observed, float64 `[T]`; NaN before."""

    def __init__(self, context: WeightingContext, config: STCHWeightingConfig) -> None:
        super().__init__(context)
        self._mu, self._relative, self._ideal = config.mu, config.relative, config.ideal
        self.register_buffer("first", torch.full((len(self.tasks),), torch.nan, dtype=torch.float64))

    def begin_step(self, losses: StepLosses) -> None:
        self.first.copy_(torch.where(self.first.isnan() & losses.observed, losses.values, self.first))

    def weights(self, losses: StepLosses) -> Tensor:
        unit_T = torch.ones_like(losses.values)
        if self._relative:
            # A loss that begins at 0 or below has no multiples.
            unit_T = torch.where(self.first > 0, self.first, 1.0)
        score_T = self.task_weights * (losses.values / unit_T - self._ideal) / self._mu
        share_T = score_T.masked_fill(~losses.observed, -torch.inf).softmax(dim=0).nan_to_num()
        return share_T * self.task_weights / unit_T
