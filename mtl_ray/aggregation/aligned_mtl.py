"""Aligned-MTL: Senushkin et al., Independent Component Alignment for Multi-Task Learning, CVPR 2023."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from mtl_ray.aggregation.aggregation import AggregationContext, AggregationSettings, GramianAggregation
from mtl_ray.aggregation.scale import scaled


class AlignedMTLConfig(AggregationSettings):
    """`aggregation: {name: aligned_mtl}`."""

    name: Literal["aligned_mtl"] = "aligned_mtl"

    def build(self, context: AggregationContext) -> AlignedMTL:
        return AlignedMTL(context)


class AlignedMTL(GramianAggregation):
    """The mean of the gradients after their principal components were brought to the length of the shortest: algorithm
    1 of the paper, as TorchJD computes it."""

    def __init__(self, context: AggregationContext) -> None:
        super().__init__(context)
        from torchjd.aggregation import AlignedMTLWeighting

        self._method = AlignedMTLWeighting()

    def from_gramian(self, gramian_TT: Tensor, tasks: Sequence[int]) -> Tensor:  # noqa: ARG002
        return self._method(scaled(gramian_TT))
