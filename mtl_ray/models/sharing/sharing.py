"""What every sharing architecture has."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Sharing(nn.Module, ABC):
    """Between encoder and towers: what tasks share, and how each task reads it."""

    out_size: int
    """Width H of every task's input."""

    @abstractmethod
    def forward(self, x_BD: Tensor) -> tuple[Tensor, ...]:
        """One input `[B, H]` for each task's tower, in task order, from the encoded rows `[B, D_in]`."""

    @abstractmethod
    def representation(self, x_BD: Tensor) -> Tensor:
        """The last thing that all tasks share, `[B, R]`."""

    @abstractmethod
    def task_parameters(self, index: int) -> list[nn.Parameter]:
        """Parameters that only the task in position `index` uses."""
