"""What every loss weighting has."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Weighting(nn.Module, ABC):
    """From the tasks' losses to the one number that is differentiated."""

    @abstractmethod
    def forward(self, losses_T: Tensor) -> Tensor:
        """The total, a scalar of the same dtype, from the losses `[T]` in task order."""
