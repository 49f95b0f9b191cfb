"""Embedding tables like every other parameter."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from mtl_ray.optim.embeddings.settings import EmbeddingOptimizerSettings


class DenseConfig(EmbeddingOptimizerSettings):
    """`embeddings: {name: dense}`: by the optimizer of all else, with dense gradients. Every row is read and written in
    every step, which takes most of it where tables are large."""

    name: Literal["dense"] = "dense"
    sparse: ClassVar[bool] = False
    decays: ClassVar[bool] = True

    def numbers_held(self, rows: int, dim: int) -> int:
        return 3 * rows * dim  # two moments, and a gradient of every row

    def build(self, group: dict[str, Any], betas: tuple[float, float]) -> None:  # noqa: ARG002
        return None
