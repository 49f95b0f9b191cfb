"""CAGrad: Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from mtl_ray.aggregation.aggregation import AggregationContext, AggregationSettings, GramianAggregation
from mtl_ray.aggregation.scale import scaled


class CAGradConfig(AggregationSettings):
    """`aggregation: {name: cagrad}`."""

    name: Literal["cagrad"] = "cagrad"
    c: float = Field(default=0.4, ge=0.0, allow_inf_nan=False)
    """Radius around the mean gradient, as a share of its length; 0: the mean."""

    def build(self, context: AggregationContext) -> CAGrad:
        return CAGrad(context, self.c)


class CAGrad(GramianAggregation):
    """The vector within c |g| of the mean gradient g that improves the worst-off task most: algorithm 1 of the paper,
    as TorchJD solves it."""

    def __init__(self, context: AggregationContext, c: float) -> None:
        super().__init__(context)
        from torchjd.aggregation import CAGradWeighting

        self._method = CAGradWeighting(c)

    def from_gramian(self, gramian_TT: Tensor, tasks: Sequence[int]) -> Tensor:  # noqa: ARG002
        return self._method(scaled(gramian_TT))
