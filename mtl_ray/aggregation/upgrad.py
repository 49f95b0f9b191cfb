"""UPGrad: Quinton and Rey, Jacobian Descent for Multi-Objective Optimization, arXiv 2406.16232, 2024."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from mtl_ray.aggregation.aggregation import AggregationContext, AggregationSettings, GramianAggregation
from mtl_ray.aggregation.scale import scaled


class UPGradConfig(AggregationSettings):
    """`aggregation: {name: upgrad}`."""

    name: Literal["upgrad"] = "upgrad"

    def build(self, context: AggregationContext) -> UPGrad:
        return UPGrad(context)


class UPGrad(GramianAggregation):
    """The mean of the gradients, each projected onto the dual cone of them all: equation 4 of the paper, as TorchJD
    solves it (a quadratic program a task)."""

    def __init__(self, context: AggregationContext) -> None:
        super().__init__(context)
        from torchjd.aggregation import UPGradWeighting

        self._method = UPGradWeighting()

    def from_gramian(self, gramian_TT: Tensor, tasks: Sequence[int]) -> Tensor:  # noqa: ARG002
        return self._method(scaled(gramian_TT))
