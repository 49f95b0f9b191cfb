"""Deep and cross network: Wang et al., DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale
Learning to Rank Systems, WWW 2021."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from mtl_ray.models.encoders.interactions.interaction import Interaction, InteractionSettings
from mtl_ray.models.encoders.layout import FieldLayout


class DCNv2Config(InteractionSettings):
    """`interaction: {name: dcn_v2, layers: 2, rank: 64}`."""

    name: Literal["dcn_v2"] = "dcn_v2"
    layers: int = Field(default=2, ge=1)
    """Cross layers: products of up to layers + 1 numbers of the row."""
    rank: PositiveInt | None = None
    """Rank of the layers' matrices; null: full."""

    def build(self, layout: FieldLayout) -> DCNv2:
        return DCNv2(layout, self.layers, self.rank)


class DCNv2(Interaction):
    """x_L of cross layers over the whole row, fields and numbers (equations 1 and 2):

        x_l+1 = x_0 * (W_l x_l + b_l) + x_l,   W_l = U_l V_l^T where a rank is given

    This is the stacked form: the sharing structure is the deep network above it. Not here: the mixture of several
    low-rank experts (equation 3). Weights start after Glorot and Bengio (2010).
    """

    def __init__(self, layout: FieldLayout, layers: int, rank: int | None) -> None:
        super().__init__()
        self.out_size = size = layout.size
        inner = size if rank is None else rank
        self.down = nn.ModuleList(nn.Linear(size, inner, bias=False) for _ in range(layers if rank is not None else 0))
        self.cross = nn.ModuleList(nn.Linear(inner, size) for _ in range(layers))
        for linear in (*self.down, *self.cross):
            assert isinstance(linear, nn.Linear)
            nn.init.xavier_normal_(linear.weight)
        for linear in self.cross:
            assert isinstance(linear, nn.Linear)
            nn.init.zeros_(linear.bias)

    def forward(self, x_BI: Tensor) -> Tensor:
        crossed_BI = x_BI
        for layer, cross in enumerate(self.cross):
            inner = self.down[layer](crossed_BI) if len(self.down) else crossed_BI
            crossed_BI = x_BI * cross(inner) + crossed_BI
        return crossed_BI
