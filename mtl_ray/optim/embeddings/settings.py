"""What every optimizer of embedding tables has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch.optim import Optimizer

from mtl_ray.schema import Settings


class EmbeddingChoice(Settings, ABC):
    """`training.optimizer.embeddings` of the config; `name` and what the method needs are added by each."""

    decays: ClassVar[bool] = False
    """Whether it takes a weight decay."""

    @abstractmethod
    def chosen(self, rows: int, decay: float) -> EmbeddingOptimizerSettings:
        """What tables of so many rows in all learn by, where their weight decay is `decay`."""


class EmbeddingOptimizerSettings(EmbeddingChoice):
    """An optimizer, whatever the number of rows."""

    sparse: ClassVar[bool] = True
    """Whether tables give sparse gradients: of the rows that a batch shows, and none of the others, which then neither
    move nor are read."""
    usual_rate: ClassVar[float | None] = None
    """Learning rate where the config has none; None: that of the dense part."""

    def chosen(self, rows: int, decay: float) -> EmbeddingOptimizerSettings:  # noqa: ARG002
        return self

    @abstractmethod
    def numbers_held(self, rows: int, dim: int) -> int:
        """How many it keeps for tables of so many rows of `dim`, beside these."""

    @abstractmethod
    def build(self, group: dict[str, Any], betas: tuple[float, float]) -> Optimizer | None:
        """Over one parameter group, which has its `lr` and `weight_decay`; None: the tables go by the optimizer of all
        else. Sparse gradients come coalesced."""
