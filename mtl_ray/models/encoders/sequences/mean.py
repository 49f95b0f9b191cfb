"""The mean of the entries."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from mtl_ray.models.encoders.sequences.masked import mean_of_present
from mtl_ray.models.encoders.sequences.sequence import History, HistorySize, SequenceSettings


class MeanConfig(SequenceSettings):
    """`list_pooling: mean`. Ages have no effect."""

    name: Literal["mean"] = "mean"

    def build(self, size: HistorySize) -> Mean:  # noqa: ARG002
        return Mean()


class Mean(nn.Module):
    """Mean over the entries that are present."""

    def forward(self, history: History) -> Tensor:
        return mean_of_present(history.entries, history.present)
