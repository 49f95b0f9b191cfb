"""Piecewise-linear encoding: Gorishniy, Rubachev and Babenko, On Embeddings for Numerical Features in Tabular Deep
Learning, NeurIPS 2022, section 3.2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.models.encoders.numeric.numeric import NumericSettings
from mtl_ray.models.encoders.numeric.quantiles import bin_edges


class PiecewiseLinearConfig(NumericSettings):
    """`numeric: {name: piecewise_linear, bins: 16}`."""

    name: Literal["piecewise_linear"] = "piecewise_linear"
    bins: int = Field(default=16, ge=1)
    """Bins of about equally many training rows; fewer where many rows share a value."""

    def build(self, columns: int, quantiles: Sequence[Sequence[float]], dim: int, std: float) -> PiecewiseLinear:  # noqa: ARG002
        return PiecewiseLinear([bin_edges(column, self.bins) for column in quantiles], dim)


class PiecewiseLinear(nn.Module):
    """`[B, N]` to `[B, N, D]`: W_n e(x) + b_n, with the encoding of equation 1 over edges b_0 < ... < b_T,

        e_t = (x - b_t-1) / (b_t - b_t-1),   at least 0 but for t = 1, at most 1 but for t = T

    Columns with fewer bins than the widest one have bins of constant 0 at their end. Weights start uniform within
    1 / sqrt(T).
    """

    lower: Tensor
    upper: Tensor
    least: Tensor
    most: Tensor

    def __init__(self, edges: Sequence[Sequence[float]], dim: int) -> None:
        super().__init__()
        bins = max(len(column) for column in edges) - 1
        lower = torch.zeros(len(edges), bins)
        upper = torch.ones(len(edges), bins)
        least = torch.zeros(len(edges), bins)
        most = torch.zeros(len(edges), bins)
        for n, column in enumerate(edges):
            last = len(column) - 2
            values = torch.tensor(column)
            lower[n, : last + 1], upper[n, : last + 1] = values[:-1], values[1:]
            least[n, 0] = -math.inf
            most[n, : last + 1] = 1.0
            most[n, last] = math.inf
        self.register_buffer("lower", lower, persistent=False)
        self.register_buffer("upper", upper, persistent=False)
        self.register_buffer("least", least, persistent=False)
        self.register_buffer("most", most, persistent=False)
        self.weight = nn.Parameter(torch.empty(len(edges), bins, dim).uniform_(-(bins**-0.5), bins**-0.5))
        self.bias = nn.Parameter(torch.zeros(len(edges) * dim))

    def forward(self, x_BN: Tensor) -> Tensor:
        encoded_BNT = (x_BN.unsqueeze(-1) - self.lower) / (self.upper - self.lower)
        encoded_BNT = torch.maximum(torch.minimum(encoded_BNT, self.most), self.least)
        return torch.einsum("bnt,ntd->bnd", encoded_BNT, self.weight) + self.bias.view(len(self.weight), -1)
