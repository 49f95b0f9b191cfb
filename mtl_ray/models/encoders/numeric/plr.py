"""Periodic activations, linear, ReLU: Gorishniy, Rubachev and Babenko, On Embeddings for Numerical Features in Tabular
Deep Learning, NeurIPS 2022, section 3.3 (PLR)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.models.encoders.numeric.numeric import NumericSettings


class PLRConfig(NumericSettings):
    """`numeric: {name: plr, frequencies: 16, sigma: 0.1}`."""

    needs_quantiles: ClassVar[bool] = False

    name: Literal["plr"] = "plr"
    frequencies: int = Field(default=16, ge=1)
    """Number of frequencies a column."""
    sigma: float = Field(default=0.1, gt=0.0, allow_inf_nan=False)
    """Standard deviation of the frequencies at the start; for numbers scaled to about 1. The larger, the finer the
    differences that matter."""

    def build(self, columns: int, quantiles: Sequence[Sequence[float]], dim: int, std: float) -> PLR:  # noqa: ARG002
        return PLR(columns, self.frequencies, self.sigma, dim)


class PLR(nn.Module):
    """`[B, N]` to `[B, N, D]`: relu(W_n [sin v, cos v] + b_n) with v = 2 pi [c_n1 x, ..., c_nk x] (equation 2).

    The frequencies c learn; they are kept flat, since 0 is no natural value for weight decay to draw them to. W and b
    start uniform within 1 / sqrt(2 k).
    """

    def __init__(self, columns: int, frequencies: int, sigma: float, dim: int) -> None:
        super().__init__()
        bound = (2 * frequencies) ** -0.5
        self.frequencies = nn.Parameter(torch.empty(columns * frequencies).normal_(std=sigma))
        self.weight = nn.Parameter(torch.empty(columns, 2 * frequencies, dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(columns * dim).uniform_(-bound, bound))

    def forward(self, x_BN: Tensor) -> Tensor:
        columns = len(self.weight)
        angle_BNK = 2.0 * math.pi * self.frequencies.view(columns, -1) * x_BN.unsqueeze(-1)
        periodic_BNK = torch.cat([angle_BNK.sin(), angle_BNK.cos()], dim=-1)
        return torch.relu(torch.einsum("bnk,nkd->bnd", periodic_BNK, self.weight) + self.bias.view(columns, -1))
