"""One embedding a bucket."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.models.encoders.numeric.numeric import NumericSettings
from mtl_ray.models.encoders.numeric.quantiles import inner_edges


class BucketisedConfig(NumericSettings):
    """`numeric: {name: bucketised, buckets: 16}`."""

    name: Literal["bucketised"] = "bucketised"
    buckets: int = Field(default=16, ge=2)
    """Buckets of about equally many training rows; fewer where many rows share a value."""

    def build(self, columns: int, quantiles: Sequence[Sequence[float]], dim: int, std: float) -> Bucketised:  # noqa: ARG002
        return Bucketised([inner_edges(column, self.buckets) for column in quantiles], dim, std)


class Bucketised(nn.Module):
    """`[B, N]` to `[B, N, D]`: the embedding of the bucket that the number lies in.

    Bucket k of a column holds edge_k-1 <= x < edge_k. The table is a weight matrix to the optimizer: it has few rows,
    all of which learn in nearly every step.
    """

    edges: Tensor
    """`[N, most edges]`, filled up with infinity."""
    first_rows: Tensor
    last_buckets: Tensor

    def __init__(self, edges: Sequence[Sequence[float]], dim: int, std: float) -> None:
        super().__init__()
        widest = max(1, *(len(column) for column in edges))
        filled = [[*column, *[math.inf] * (widest - len(column))] for column in edges]
        last = torch.tensor([len(column) for column in edges])
        self.register_buffer("edges", torch.tensor(filled, dtype=torch.float32), persistent=False)
        self.register_buffer("last_buckets", last, persistent=False)
        self.register_buffer("first_rows", (last + 1).cumsum(0) - (last + 1), persistent=False)
        self.table = nn.Parameter(torch.empty(int((last + 1).sum()), dim))
        nn.init.normal_(self.table, std=std)

    def forward(self, x_BN: Tensor) -> Tensor:
        x_NB = x_BN.to(self.edges.dtype).T.contiguous()
        bucket_BN = torch.searchsorted(self.edges, x_NB, right=True).T
        return F.embedding(torch.minimum(bucket_BN, self.last_buckets) + self.first_rows, self.table)
