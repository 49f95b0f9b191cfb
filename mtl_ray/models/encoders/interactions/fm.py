"""Factorisation machine: Rendle, Factorization Machines, ICDM 2010; its vector form: He and Chua, Neural Factorization
Machines for Sparse Predictive Analytics, SIGIR 2017."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mtl_ray.models.encoders.interactions.interaction import Interaction, InteractionSettings, check_two_fields
from mtl_ray.models.encoders.layout import FieldLayout


class FMConfig(InteractionSettings):
    """`interaction: fm`."""

    name: Literal["fm"] = "fm"

    def build(self, layout: FieldLayout) -> FM:
        return FM(layout)

    def check(self, layout: FieldLayout) -> None:
        check_two_fields(self.name, layout)


class FM(Interaction):
    """The row, followed by the bi-interaction pooling of its fields (equation 4 of He and Chua), D numbers:

        sum over i < j of v_i * v_j = ((sum_i v_i)^2 - sum_i v_i^2) / 2

    The sum of its D numbers is Rendle's second-order term. A field's value is 1: embeddings stand for x_i v_i.
    """

    def __init__(self, layout: FieldLayout) -> None:
        super().__init__()
        self.layout = layout
        self.out_size = layout.size + layout.dim

    def forward(self, x_BI: Tensor) -> Tensor:
        fields_BFD = self.layout.fields(x_BI)
        pairs_BD = 0.5 * (fields_BFD.sum(dim=1).square() - fields_BFD.square().sum(dim=1))
        return torch.cat([x_BI, pairs_BD], dim=1)
