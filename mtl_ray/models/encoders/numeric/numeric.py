"""What an encoder of numbers is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import nn

from mtl_ray.schema import Settings


class NumericSettings(Settings, ABC):
    """`model.encoder.numeric`, or a numeric feature's entry of `model.encoder.features`."""

    kind: ClassVar[Literal["numeric"]] = "numeric"
    embeds: ClassVar[bool] = True
    """Whether a column becomes a field; otherwise it stays one number."""
    needs_quantiles: ClassVar[bool] = True

    @abstractmethod
    def build(self, columns: int, quantiles: Sequence[Sequence[float]], dim: int, std: float) -> nn.Module:
        """The module from `[B, columns]` to `[B, columns, dim]`, each column with weights of its own.

        `quantiles` are those of each column, where `needs_quantiles`; `std` is that of embeddings at the start.
        """
