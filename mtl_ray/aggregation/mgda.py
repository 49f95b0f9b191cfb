"""The multiple-gradient descent algorithm: Désidéri, Comptes Rendus Mathématique 350, 2012; Sener and Koltun,
Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from mtl_ray.aggregation.aggregation import AggregationContext, AggregationSettings, GramianAggregation
from mtl_ray.aggregation.scale import scaled


class MGDAConfig(AggregationSettings):
    """`aggregation: {name: mgda}`."""

    name: Literal["mgda"] = "mgda"
    epsilon: float = Field(default=1e-3, gt=0.0, allow_inf_nan=False)
    """The search ends where a step is shorter."""
    max_iterations: int = Field(default=100, ge=1)

    def build(self, context: AggregationContext) -> MGDA:
        return MGDA(context, self)


class MGDA(GramianAggregation):
    """The shortest vector in the convex hull of the gradients: equation 3 of Sener and Koltun, by Frank-Wolfe (their
    algorithm 2), as TorchJD solves it. On the representation it is their MGDA-UB."""

    def __init__(self, context: AggregationContext, config: MGDAConfig) -> None:
        super().__init__(context)
        from torchjd.aggregation import MGDAWeighting

        self._method = MGDAWeighting(config.epsilon, config.max_iterations)

    def from_gramian(self, gramian_TT: Tensor, tasks: Sequence[int]) -> Tensor:  # noqa: ARG002
        return self._method(scaled(gramian_TT))
