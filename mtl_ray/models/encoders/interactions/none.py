"""No interaction: the row as it is."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mtl_ray.models.encoders.interactions.interaction import Interaction, InteractionSettings
from mtl_ray.models.encoders.layout import FieldLayout


class NoInteractionConfig(InteractionSettings):
    """`interaction: none`."""

    name: Literal["none"] = "none"

    def build(self, layout: FieldLayout) -> NoInteraction:
        return NoInteraction(layout)


class NoInteraction(Interaction):
    """The identity."""

    computes = False

    def __init__(self, layout: FieldLayout) -> None:
        super().__init__()
        self.out_size = layout.size

    def forward(self, x_BI: Tensor) -> Tensor:
        return x_BI
