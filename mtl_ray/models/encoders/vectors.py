"""Precomputed vectors, such as embeddings of texts and images."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn as nn
from torch import Tensor

from mtl_ray.schema import Settings


class VectorConfig(Settings):
    """`model.encoder.vectors`, or a vector feature's entry of `model.encoder.features`."""

    kind: ClassVar[Literal["vector"]] = "vector"

    name: Literal["vector"] = "vector"
    projection: bool = True
    """A learned linear map to `embedding_dim` numbers, which makes the vector a field; false: the vector as it is."""
    layer_norm: bool = False
    """Layer norm of the vector first, for vectors whose lengths differ or are far from 1."""

    def build(self, size: int, dim: int) -> VectorEncoder:
        return VectorEncoder(size, dim if self.projection else None, self.layer_norm)


class VectorEncoder(nn.Module):
    """`[B, size]` to `[B, dim]`, or to `[B, size]` without projection. A missing vector is zeros in the batch."""

    def __init__(self, size: int, dim: int | None, layer_norm: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size) if layer_norm else None
        self.projection = nn.Linear(size, dim) if dim is not None else None
        if self.projection is not None:
            nn.init.normal_(self.projection.weight, std=size**-0.5)
            nn.init.zeros_(self.projection.bias)

    def forward(self, x_BS: Tensor) -> Tensor:
        if self.norm is not None:
            x_BS = self.norm(x_BS)
        return x_BS if self.projection is None else self.projection(x_BS)
