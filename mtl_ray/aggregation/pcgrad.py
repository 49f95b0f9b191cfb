"""PCGrad: Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from mtl_ray.aggregation.aggregation import AggregationContext, AggregationSettings, GramianAggregation
from mtl_ray.aggregation.drawn_alike import drawn_alike
from mtl_ray.aggregation.scale import scaled


class PCGradConfig(AggregationSettings):
    """`aggregation: {name: pcgrad}`."""

    name: Literal["pcgrad"] = "pcgrad"

    def build(self, context: AggregationContext) -> PCGrad:
        return PCGrad(context)


class PCGrad(GramianAggregation):
    """The sum of the gradients, each with what points against another's taken off, others in random order: algorithm 1
    of the paper, as TorchJD computes it."""

    def __init__(self, context: AggregationContext) -> None:
        super().__init__(context)
        from torchjd.aggregation import PCGradWeighting

        self._method = PCGradWeighting()

    def from_gramian(self, gramian_TT: Tensor, tasks: Sequence[int]) -> Tensor:  # noqa: ARG002
        with drawn_alike(self.draws()):
            return self._method(scaled(gramian_TT))
