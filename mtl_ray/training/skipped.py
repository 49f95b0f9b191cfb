"""Steps that are left out because a task's loss or gradient is not finite."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mtl_ray.errors import DivergedError
from mtl_ray.weighting import StepLosses


class SkippedSteps:
    """Counts them, by task; the same on all ranks.

    Attributes:
        by_task: steps left out so far.
    """

    def __init__(self, tasks: Sequence[str], most_in_a_row: int) -> None:
        self.by_task = dict.fromkeys(tasks, 0)
        self._tasks = tuple(tasks)
        self._most = most_in_a_row
        self._in_a_row = 0

    def check_losses(self, losses: StepLosses) -> bool:
        """Whether all observed tasks have finite losses; counts the step where not."""
        bad_T = losses.observed & ~torch.isfinite(losses.values)
        if not bool(bad_T.any()):
            return True
        self.count(int(bad_T.nonzero()[0, 0]), "loss")
        return False

    def count(self, task: int, what: str) -> None:
        """A step is left out for the loss or gradient of the task in this position.

        Raises DivergedError where that happened too often in a row.
        """
        name = self._tasks[task]
        self.by_task[name] += 1
        self._in_a_row += 1
        if self._in_a_row > self._most:
            raise DivergedError(
                f"Training diverged: the {what} of {name} is not finite, as in the {self._most} steps before, which "
                "were left out.\n"
                "  fix:     a smaller training.optimizer.learning_rate, a smaller training.clip_norm, "
                f"training.precision=fp32, or a look at the labels of {name}"
            )

    def reset(self) -> None:
        """A step was taken."""
        self._in_a_row = 0
