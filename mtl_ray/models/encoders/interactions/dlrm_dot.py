"""Dot products of the fields: Naumov et al., Deep Learning Recommendation Model for Personalization and Recommendation
Systems, 2019 (arXiv 1906.00091)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mtl_ray.models.encoders.interactions.interaction import Interaction, InteractionSettings, check_two_fields
from mtl_ray.models.encoders.layout import FieldLayout


class DLRMDotConfig(InteractionSettings):
    """`interaction: dlrm_dot`."""

    name: Literal["dlrm_dot"] = "dlrm_dot"

    def build(self, layout: FieldLayout) -> DLRMDot:
        return DLRMDot(layout)

    def check(self, layout: FieldLayout) -> None:
        check_two_fields(self.name, layout)


class DLRMDot(Interaction):
    """The row, followed by v_i . v_j of all pairs of fields i < j, in the order of i, then j.

    Deviation: DLRM appends the products to its dense features alone, and makes those a field by an MLP; here the whole
    row stays, and a number is a field if its encoder makes it one.
    """

    first: Tensor
    second: Tensor

    def __init__(self, layout: FieldLayout) -> None:
        super().__init__()
        count = len(layout.names)
        first, second = torch.triu_indices(count, count, offset=1)
        self.layout = layout
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)
        self.out_size = layout.size + len(first)

    def forward(self, x_BI: Tensor) -> Tensor:
        fields_BFD = self.layout.fields(x_BI)
        products_BFF = fields_BFD @ fields_BFD.transpose(1, 2)
        return torch.cat([x_BI, products_BFF[:, self.first, self.second]], dim=1)
