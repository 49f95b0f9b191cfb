"""What every optimizer of embedding tables has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch.optim import Optimizer

from mtl_ray.schema import Settings


class EmbeddingOptimizerSettings(Settings, ABC):
    """`training.optimizer.embeddings` of the config; `name` and what the method needs are added by each."""

    sparse: ClassVar[bool] = True
    """Whether tables give sparse gradients: of the rows that a batch shows, and none of the others, which then neither
    move nor are read."""
    decays: ClassVar[bool] = False
    """Whether it takes a weight decay."""
    usual_rate: ClassVar[float | None] = None
    """Learning rate where the config has none; None: that of the dense part."""

    @abstractmethod
    def build(self, group: dict[str, Any], betas: tuple[float, float]) -> Optimizer | None:
        """Over one parameter group, which has its `lr` and `weight_decay`; None: the tables go by the optimizer of all
        else. Sparse gradients come coalesced."""
