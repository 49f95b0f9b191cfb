"""Transformer over history and candidate: Chen et al., Behavior Sequence Transformer for E-commerce Recommendation in
Alibaba, DLP-KDD 2019 (BST)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from mtl_ray.models.encoders.ages import AgeEmbedding
from mtl_ray.models.encoders.sequences.masked import zero_if_empty
from mtl_ray.models.encoders.sequences.sequence import History, HistorySize, TargetSettings, check_heads


class TransformerConfig(TargetSettings):
    """`sequences: {watched: {name: transformer, heads: 4}}`."""

    name: Literal["transformer"] = "transformer"
    layers: int = Field(default=1, ge=1)
    heads: int = Field(default=2, ge=1)
    """Must divide the entries' width: the number of lists times `embedding_dim`."""
    hidden: PositiveInt | None = None
    """Hidden size of the feed-forward part; null: four times the entries' width."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    def build(self, size: HistorySize) -> Transformer:
        return Transformer(self, size)

    def check_width(self, width: int, where: str) -> None:
        check_heads(self.heads, width, where)


class Transformer(nn.Module):
    """The candidate is the last of L + 1 entries; the output is what the last layer has in its place, `[B, W]`.

    A position, counted from the candidate backwards, and an age have an embedding each, which are added to the entries.
    Deviations: the paper's MLP reads the outputs in all places, here the sharing structure reads the candidate's alone;
    positions are learned beside the ages, which are the paper's positions (section 2.1).
    """

    def __init__(self, config: TransformerConfig, size: HistorySize) -> None:
        super().__init__()
        self.age_embedding = AgeEmbedding(size.width, size.std) if size.has_ages else None
        self.positions = nn.Parameter(torch.empty(size.length + 1, size.width))
        nn.init.normal_(self.positions, std=size.std)
        hidden = config.hidden or 4 * size.width
        self.layers = nn.ModuleList(
            TransformerLayer(size.width, config.heads, hidden, config.dropout) for _ in range(config.layers)
        )

    def forward(self, history: History) -> Tensor:
        assert history.target is not None
        x_BLW = torch.cat([history.entries, history.target.unsqueeze(1)], dim=1)
        x_BLW = x_BLW + self.positions[: x_BLW.shape[1]].flip(0)
        if self.age_embedding is not None:
            assert history.ages is not None
            x_BLW = x_BLW + self.age_embedding(F.pad(history.ages, (0, 1)))
        seen_BL = F.pad(history.present, (0, 1), value=True)
        for index, layer in enumerate(self.layers, start=1):
            x_BLW = layer(x_BLW, seen_BL, last_alone=index == len(self.layers))
        return zero_if_empty(x_BLW.squeeze(1), history.present)


class TransformerLayer(nn.Module):
    """Multi-head attention and a feed-forward part, each with dropout, residual and layer norm after it (equations 3
    to 6): the activation is LeakyReLU, the attention's maps have no bias."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self._heads = heads
        self._dropout = dropout

    def forward(self, x_BLW: Tensor, seen_BL: Tensor, last_alone: bool) -> Tensor:
        """`[B, L, W]`, or `[B, 1, W]` for the last place alone."""
        asking_BQW = x_BLW[:, -1:] if last_alone else x_BLW
        mixed_BHQV = F.scaled_dot_product_attention(
            self._per_head(self.query(asking_BQW)),
            self._per_head(self.key(x_BLW)),
            self._per_head(self.value(x_BLW)),
            attn_mask=seen_BL[:, None, None, :],
        )
        attended = self.out(mixed_BHQV.transpose(1, 2).flatten(2))
        x_BQW = self.attention_norm(asking_BQW + F.dropout(attended, self._dropout, self.training))
        forward = self.down(F.leaky_relu(self.up(x_BQW)))
        updated: Tensor = self.feed_forward_norm(x_BQW + F.dropout(forward, self._dropout, self.training))
        return updated

    def _per_head(self, x_BLW: Tensor) -> Tensor:
        """`[B, H, L, W / H]`."""
        return x_BLW.reshape(*x_BLW.shape[:2], self._heads, -1).transpose(1, 2)
