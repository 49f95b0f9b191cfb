"""Gradient vaccine: Wang et al., Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively
Multilingual Models, ICLR 2021."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from mtl_ray.aggregation.aggregation import AggregationContext, AggregationSettings, GramianAggregation
from mtl_ray.aggregation.drawn_alike import drawn_alike
from mtl_ray.aggregation.scale import scaled


class GradVacConfig(AggregationSettings):
    """`aggregation: {name: gradvac}`."""

    name: Literal["gradvac"] = "gradvac"
    beta: float = Field(default=0.01, gt=0.0, le=1.0)
    """How fast the aims follow the cosines that are met."""

    def build(self, context: AggregationContext) -> GradVac:
        return GradVac(context, self.beta)


class GradVac(GramianAggregation):
    """The sum of the gradients, each turned towards another's where their cosine is below its running mean: algorithm 1
    of the paper, as TorchJD computes it, over all blocks as one."""

    cosines: Tensor
    """Running mean of the cosine of each pair, float64 `[T, T]`, 0 at the start; it rests for a pair of which a step
    has not observed both."""

    def __init__(self, context: AggregationContext, beta: float) -> None:
        super().__init__(context)
        from torchjd.aggregation import GradVacWeighting

        # Not an attribute by itself: a module's state would enter this one's.
        self._methods: list[Any] = [GradVacWeighting(beta)]
        number = len(self.tasks)
        self.register_buffer("cosines", torch.zeros(number, number, dtype=torch.float64))

    def from_gramian(self, gramian_TT: Tensor, tasks: Sequence[int]) -> Tensor:
        own = torch.meshgrid(torch.tensor(tasks), torch.tensor(tasks), indexing="ij")
        (method,) = self._methods
        # TorchJD keeps the means of as many tasks as it is given; ours are of all tasks.
        method._phi_t = self.cosines[own].cpu()
        method._state_key = (len(tasks), gramian_TT.dtype)
        with drawn_alike(self.draws()):
            found: Tensor = method(scaled(gramian_TT))
        self.cosines[own] = method._phi_t.to(self.cosines.device)
        return found
