"""Weights by data: the rarer a task's positives, the more its loss weighs."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mtl_ray.weighting.settings import WeightingSettings
from mtl_ray.weighting.weighting import StepLosses, Weighting, WeightingContext


class InverseRateWeightingConfig(WeightingSettings):
    """`weighting: {name: inverse_rate}`."""

    name: Literal["inverse_rate"] = "inverse_rate"
    power: float = Field(default=0.5, ge=0.0, le=1.0)
    """1: in inverse proportion to the base rate; 0: not at all."""

    def build(self, context: WeightingContext) -> InverseRateWeighting:
        return InverseRateWeighting(context, self.power)


class InverseRateWeighting(Weighting):
    """sum over t of w_t * f_t * L_t with f_t = base rate_t ^ -power for binary tasks, scaled to a mean of 1 over them;
    1 for the others. Base rates are those of the training part before any sampling; a task without positives counts as
    one with a single one."""

    reads_losses = False

    factors: Tensor
    """f_t, float64 `[T]`; not in the state dict, as the training set's statistics hold it."""

    def __init__(self, context: WeightingContext, power: float) -> None:
        super().__init__(context)
        raw = {
            task: max(statistics.mean or 0.0, 1.0 / max(statistics.observed, 1)) ** -power
            for task, statistics in context.statistics.items()
            if context.types.get(task) == "binary"
        }
        mean = sum(raw.values()) / len(raw) if raw else 1.0
        factors = [raw[task] / mean if task in raw else 1.0 for task in self.tasks]
        self.register_buffer("factors", torch.tensor(factors, dtype=torch.float64), persistent=False)

    def weights(self, losses: StepLosses) -> Tensor:  # noqa: ARG002
        return self.task_weights * self.factors
