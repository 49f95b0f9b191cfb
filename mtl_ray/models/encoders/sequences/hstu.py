"""Hierarchical sequential transduction unit: Zhai et al., Actions Speak Louder than Words: Trillion-Parameter
Sequential Transducers for Generative Recommendations, ICML 2024 (HSTU)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.models.encoders.ages import AgeBias
from mtl_ray.models.encoders.sequences.masked import zero_if_empty
from mtl_ray.models.encoders.sequences.sequence import History, HistorySize, TargetSettings, check_heads


class HSTUConfig(TargetSettings):
    """`sequences: {watched: {name: hstu, layers: 2}}`."""

    name: Literal["hstu"] = "hstu"
    layers: int = Field(default=1, ge=1)
    heads: int = Field(default=1, ge=1)
    """Must divide the entries' width: the number of lists times `embedding_dim`."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    def build(self, size: HistorySize) -> HSTU:
        return HSTU(self, size)

    def check_width(self, width: int, where: str) -> None:
        check_heads(self.heads, width, where)


class HSTU(nn.Module):
    """The candidate is the last of L + 1 entries, of age 0; the output is what the last layer has there, `[B, W]`.

    Deviation: the paper interleaves items and actions; here an entry's lists stand side by side in it.
    """

    def __init__(self, config: HSTUConfig, size: HistorySize) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            HSTULayer(size.width, size.length + 1, size.has_ages, config.heads, config.dropout)
            for _ in range(config.layers)
        )

    def forward(self, history: History) -> Tensor:
        assert history.target is not None
        x_BLW = torch.cat([history.entries, history.target.unsqueeze(1)], dim=1)
        seen_BL = F.pad(history.present, (0, 1), value=True)
        ages_BL = F.pad(history.ages, (0, 1)) if history.ages is not None else None
        for index, layer in enumerate(self.layers, start=1):
            x_BLW = layer(x_BLW, seen_BL, ages_BL, last_alone=index == len(self.layers))
        return zero_if_empty(x_BLW.squeeze(1), history.present)


class HSTULayer(nn.Module):
    """Equations 1 to 3 of the paper, in a residual x + Y(x):

        U, V, Q, K = split(silu(f1(norm(x))))
        A = silu(Q K^T / sqrt(d) + r) / N,   over entries that are present and not newer
        Y = f2(norm(A V) * U)

    r is a bias for i - j plus one for the time between entries i and j, in buckets of one a doubling; the same in all
    heads, as in the authors' code, which divides by sqrt(d) too. N is the largest number of entries, L + 1.
    Deviation: the bias of entry i takes its own time, where the authors' code takes that of the next one, the time of
    what is to be predicted; here the last entry is the candidate itself.
    """

    def __init__(self, width: int, length: int, has_ages: bool, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 4 * width)
        self.mixed_norm = nn.LayerNorm(width, eps=1e-6)
        self.out = nn.Linear(width, width)
        self.position_bias = nn.Parameter(torch.zeros(length))
        self.age_bias = AgeBias() if has_ages else None
        self._length = length
        self._heads = heads
        self._dropout = dropout

    def forward(self, x_BLW: Tensor, seen_BL: Tensor, ages_BL: Tensor | None, last_alone: bool) -> Tensor:
        """`[B, L, W]`, or `[B, 1, W]` for the last place alone."""
        first = x_BLW.shape[1] - 1 if last_alone else 0
        u, v, q, k = F.silu(self.project(self.norm(x_BLW))).chunk(4, dim=-1)
        score_BHQL = self._per_head(q[:, first:]) @ self._per_head(k).transpose(-1, -2)
        score_BHQL = score_BHQL * (x_BLW.shape[-1] // self._heads) ** -0.5
        place_L = torch.arange(x_BLW.shape[1], device=x_BLW.device)
        distance_QL = place_L[first:, None] - place_L
        score_BHQL = score_BHQL + self.position_bias[distance_QL.clamp(min=0)]
        if self.age_bias is not None:
            assert ages_BL is not None
            between_BQL = ages_BL[:, None, :] - ages_BL[:, first:, None]
            score_BHQL = score_BHQL + self.age_bias(between_BQL.clamp(min=0.0)).unsqueeze(1)
        seen_BHQL = seen_BL[:, None, None, :] & (distance_QL >= 0)
        weight_BHQL = F.silu(score_BHQL) * seen_BHQL / self._length
        mixed_BQW = (weight_BHQL @ self._per_head(v)).transpose(1, 2).flatten(2)
        gated_BQW = F.dropout(self.mixed_norm(mixed_BQW) * u[:, first:], self._dropout, self.training)
        updated: Tensor = x_BLW[:, first:] + self.out(gated_BQW)
        return updated

    def _per_head(self, x_BLW: Tensor) -> Tensor:
        """`[B, H, L, W / H]`."""
        return x_BLW.reshape(*x_BLW.shape[:2], self._heads, -1).transpose(1, 2)
