"""Adagrad on the rows that a batch shows: Duchi et al., Adaptive Subgradient Methods, JMLR 2011."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch.optim import Optimizer

from mtl_ray.optim.embeddings.settings import EmbeddingOptimizerSettings


class AdagradConfig(EmbeddingOptimizerSettings):
    """`embeddings: {name: adagrad}`."""

    name: Literal["adagrad"] = "adagrad"
    eps: float = Field(default=1e-10, gt=0.0, allow_inf_nan=False)
    initial: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """What the accumulators, one a number of the table, start with."""
    usual_rate: ClassVar[float | None] = 0.01

    def numbers_held(self, rows: int, dim: int) -> int:
        return rows * dim

    def build(self, group: dict[str, Any], betas: tuple[float, float]) -> Optimizer:  # noqa: ARG002
        return torch.optim.Adagrad([group], eps=self.eps, initial_accumulator_value=self.initial)
