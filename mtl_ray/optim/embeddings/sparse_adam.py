"""Adam on the rows that a batch shows: Kingma and Ba, Adam, ICLR 2015, moments of other rows left as they are."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch.optim import Optimizer

from mtl_ray.optim.embeddings.settings import EmbeddingOptimizerSettings


class SparseAdamConfig(EmbeddingOptimizerSettings):
    """`embeddings: {name: sparse_adam}`."""

    name: Literal["sparse_adam"] = "sparse_adam"
    eps: float = Field(default=1e-8, gt=0.0, allow_inf_nan=False)

    def numbers_held(self, rows: int, dim: int) -> int:
        return 2 * rows * dim

    def build(self, group: dict[str, Any], betas: tuple[float, float]) -> Optimizer:
        return torch.optim.SparseAdam([group], betas=betas, eps=self.eps)
