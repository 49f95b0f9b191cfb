"""Numbers as they are in the batch: transformed, one column each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import nn

from mtl_ray.models.encoders.numeric.numeric import NumericSettings


class PlainConfig(NumericSettings):
    """`numeric: plain`."""

    embeds: ClassVar[bool] = False
    needs_quantiles: ClassVar[bool] = False

    name: Literal["plain"] = "plain"

    def build(self, columns: int, quantiles: Sequence[Sequence[float]], dim: int, std: float) -> nn.Module:  # noqa: ARG002
        return nn.Identity()
