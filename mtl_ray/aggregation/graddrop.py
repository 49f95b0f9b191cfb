"""GradDrop: Chen et al., Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout, NeurIPS
2020."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mtl_ray.aggregation.aggregation import Aggregation, AggregationContext, AggregationSettings
from mtl_ray.aggregation.gradients import TaskGradients


class GradDropConfig(AggregationSettings):
    """`aggregation: {name: graddrop}`."""

    name: Literal["graddrop"] = "graddrop"
    leak: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of a gradient that passes even where its sign was not picked; 1: the sum."""

    def build(self, context: AggregationContext) -> GradDrop:
        return GradDrop(context, self.leak)


class GradDrop(Aggregation):
    """At each number that the tasks share one sign is picked at random, positive with the probability

        P = (1 + sum over t of g_t / sum over t of |g_t|) / 2

    and gradients of the other sign are dropped: equations 1 and 2 of the paper, with f the identity. At a shared tensor
    signs and P are those of the gradients summed over the rows of the global batch (section 3.2, with the activations'
    signs left out), at a parameter those of its gradients. TorchJD draws from each rank's own generator, hence ours.
    """

    reads_gramian = False

    def __init__(self, context: AggregationContext, leak: float) -> None:
        super().__init__(context)
        self._leak = leak

    def factors(self, gradients: TaskGradients) -> list[Tensor]:
        draws = self.draws()
        return [self._kept(column_TC, draws) for column_TC in gradients.columns]

    def _kept(self, column_TC: Tensor, draws: torch.Generator) -> Tensor:
        size_C = column_TC.abs().sum(dim=0)
        drawn_C = torch.rand(size_C.shape, generator=draws, dtype=size_C.dtype).to(size_C.device)
        # P > drawn, times twice the size, which may be 0.
        sign_C = (size_C + column_TC.sum(dim=0) - 2 * drawn_C * size_C).sign_()
        picked_TC = (column_TC * sign_C).relu_().sign_()
        return picked_TC if self._leak == 0.0 else self._leak + (1.0 - self._leak) * picked_TC
