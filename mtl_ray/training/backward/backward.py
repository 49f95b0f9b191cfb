"""What every way from losses to gradients has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from mtl_ray.aggregation import Aggregation, TaskGradients
from mtl_ray.batch import Batch
from mtl_ray.training.objective import Losses


class Compared(NamedTuple):
    """What a step found of the tasks' gradients, equal on all ranks, all on the CPU."""

    tasks: tuple[int, ...]
    """Positions of the T tasks that are compared: those of the architecture that some rank has observed."""
    gramian: Tensor
    """Inner products of the gradients of the weighted losses, float64 `[T, T]`."""
    norms: Tensor
    """Lengths of the gradients of the unweighted losses, float64 `[T]`."""
    factors: Tensor | None
    """What each task's gradient was multiplied by, float64 `[T]`; None where that is not one number a task."""

    def of_all(self, tasks: int) -> Tensor:
        """`norms` of all tasks, `[tasks]`; 0 for those that are not compared."""
        norms = torch.zeros(tasks, dtype=torch.float64)
        norms[list(self.tasks)] = self.norms
        return norms


class Backward(ABC):
    """Runs the model, and then leaves in `.grad` of its parameters what the optimizer is to take: gradients of the
    global batch, equal on all ranks.

    Every task's own parameters get the gradient of its weighted loss, as does what an architecture adds.
    """

    by_task: bool
    """Whether the tasks' gradients are looked at by themselves."""

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The model's outputs for this rank's rows."""

    @abstractmethod
    def __call__(self, losses: Losses, weights_T: Tensor) -> Compared | None:
        """Differentiate; None where tasks are not compared. Collective.

        Raises NonFiniteGradient, on all ranks alike and with nothing left in `.grad` that counts, where the gradient of
        a task is not finite.
        """


class NonFiniteGradient(Exception):  # noqa: N818 - not an error by itself: the step is left out
    """The gradient of a task in this position is not finite."""

    def __init__(self, task: int) -> None:
        super().__init__(task)
        self.task = task


def aggregated(gradients: TaskGradients, aggregation: Aggregation | None) -> tuple[Compared, list[Tensor]]:
    """What is to be reported of the gradients, and the factors of each block; 1 without an aggregation. Collective.

    Raises NonFiniteGradient.
    """
    norms_T = gradients.norms
    for task, norm in zip(gradients.tasks, norms_T.tolist(), strict=True):
        if not norm < float("inf"):
            raise NonFiniteGradient(task)
    if aggregation is None:
        factors = [torch.ones(len(gradients.tasks), dtype=torch.float64)] * len(gradients.blocks)
    else:
        factors = aggregation(gradients)
    same = all(factor is factors[0] for factor in factors)
    return Compared(gradients.tasks, gradients.gramian, norms_T, factors[0].cpu() if same else None), factors
