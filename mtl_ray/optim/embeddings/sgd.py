"""Gradient descent on the rows that a batch shows."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch.optim import Optimizer

from mtl_ray.optim.embeddings.settings import EmbeddingOptimizerSettings


class SGDConfig(EmbeddingOptimizerSettings):
    """`embeddings: {name: sgd}`."""

    name: Literal["sgd"] = "sgd"
    usual_rate: ClassVar[float | None] = 0.1

    def numbers_held(self, rows: int, dim: int) -> int:  # noqa: ARG002
        return 0

    def build(self, group: dict[str, Any], betas: tuple[float, float]) -> Optimizer:  # noqa: ARG002
        return torch.optim.SGD([group])
