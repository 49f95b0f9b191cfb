"""Random loss weighting: Lin et al., Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task
Learning, TMLR 2022."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mtl_ray.weighting.settings import WeightingSettings
from mtl_ray.weighting.weighting import StepLosses, Weighting, WeightingContext


class RandomWeightingConfig(WeightingSettings):
    """`weighting: {name: random}`."""

    name: Literal["random"] = "random"

    def build(self, context: WeightingContext) -> RandomWeighting:
        return RandomWeighting(context)


class RandomWeighting(Weighting):
    """sum over t of w_t * lambda_t * L_t with lambda = T * softmax(z), z ~ N(0, I) drawn anew in every step: algorithm
    2 of the paper (RLW). Deviation: T times the paper's, so that a loss's weight is 1 on average.

    The draw is a function of (config's seed, step), so that all ranks and a training that goes on from a checkpoint
    draw the same.
    """

    reads_losses = False

    step: Tensor
    """Steps so far, int64."""

    def __init__(self, context: WeightingContext) -> None:
        super().__init__(context)
        self._seed = context.seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def weights(self, losses: StepLosses) -> Tensor:  # noqa: ARG002
        drawn = torch.Generator().manual_seed(hash((self._seed, int(self.step))) % 2**63)
        score_T = torch.randn(len(self.tasks), generator=drawn, dtype=torch.float64)
        return self.task_weights * len(self.tasks) * score_T.softmax(dim=0).to(self.task_weights.device)

    def end_step(self, losses: StepLosses) -> None:  # noqa: ARG002
        self.step += 1
