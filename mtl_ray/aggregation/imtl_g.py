"""The gradient balance (IMTL-G) of Liu et al., Towards Impartial Multi-task Learning, ICLR 2021."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from mtl_ray.aggregation.aggregation import AggregationContext, AggregationSettings, GramianAggregation
from mtl_ray.aggregation.scale import scaled


class IMTLGConfig(AggregationSettings):
    """`aggregation: {name: imtl_g}`."""

    name: Literal["imtl_g"] = "imtl_g"

    def build(self, context: AggregationContext) -> IMTLG:
        return IMTLG(context)


class IMTLG(GramianAggregation):
    """The combination, with factors that sum to 1, whose projection on every task's gradient is the same: equation 3 of
    the paper, as TorchJD solves it."""

    def __init__(self, context: AggregationContext) -> None:
        super().__init__(context)
        from torchjd.aggregation import IMTLGWeighting

        self._method = IMTLGWeighting()

    def from_gramian(self, gramian_TT: Tensor, tasks: Sequence[int]) -> Tensor:  # noqa: ARG002
        return self._method(scaled(gramian_TT))
