"""Ages of a history's entries in buckets: one a doubling, from a second to 34 years."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EDGES = tuple(2.0**power for power in range(31))
NUM_BUCKETS = len(EDGES) + 1


class AgeBuckets(nn.Module):
    """Seconds to a bucket, int64: 0 below a second, k for 2^(k-1) <= age < 2^k, 31 from 2^30 on."""

    edges: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("edges", torch.tensor(EDGES), persistent=False)

    def forward(self, ages: Tensor) -> Tensor:
        return torch.bucketize(ages.to(self.edges.dtype), self.edges, right=True)


class AgeEmbedding(nn.Module):
    """A learned vector a bucket, `[B, L]` to `[B, L, W]`. To the optimizer the table is a weight matrix."""

    def __init__(self, width: int, std: float) -> None:
        super().__init__()
        self.buckets = AgeBuckets()
        self.table = nn.Parameter(torch.empty(NUM_BUCKETS, width))
        nn.init.normal_(self.table, std=std)

    def forward(self, ages_BL: Tensor) -> Tensor:
        return F.embedding(self.buckets(ages_BL), self.table)


class AgeBias(nn.Module):
    """A learned number a bucket, `[...]` to `[...]`; 0 at the start. A bias: weight decay spares it."""

    def __init__(self) -> None:
        super().__init__()
        self.buckets = AgeBuckets()
        self.values = nn.Parameter(torch.zeros(NUM_BUCKETS))

    def forward(self, ages: Tensor) -> Tensor:
        return F.embedding(self.buckets(ages), self.values.unsqueeze(1)).squeeze(-1)
