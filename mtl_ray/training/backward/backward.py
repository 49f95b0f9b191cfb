"""What every way from losses to gradients has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mtl_ray.aggregation import Aggregation, TaskGradients
from mtl_ray.batch import Batch
from mtl_ray.training.backward.row_exchange import RowExchange
from mtl_ray.training.objective import Losses


class Compared:
    """What a step found of the tasks' gradients, equal on all ranks, all on the CPU.

    Attributes:
        tasks: positions of the T tasks that are compared: those of the architecture that some rank has observed.
        factors: what each task's gradient was multiplied by, float64 `[T]`; None where that is not one number a task.
    """

    def __init__(self, gradients: TaskGradients, factors: Tensor | None) -> None:
        self.tasks = gradients.tasks
        self.factors = factors
        self._gradients = gradients

    @property
    def gramian_is_known(self) -> bool:
        """Whether `gramian` and `norms` are there; else the first to be read is a collective."""
        return self._gradients.gramian_is_known

    @property
    def gramian(self) -> Tensor:
        """Inner products of the gradients of the weighted losses, float64 `[T, T]`."""
        return self._gradients.gramian

    def norms(self, tasks: int) -> Tensor:
        """Lengths of the gradients of the unweighted losses of all tasks, float64 `[tasks]`; 0 for those that are not
        compared."""
        norms = torch.zeros(tasks, dtype=torch.float64)
        norms[list(self.tasks)] = self._gradients.norms
        return norms


class Row(NamedTuple):
    """What one part of a batch says of the gradient of one task's unweighted loss."""

    compared: Sequence[Tensor]
    """Where tasks are compared."""
    beside: Sequence[Tensor | None]
    """At what a later pass begins with, or what needs none."""


Rows = Sequence[Row]
"""Of the tasks that are looked at by themselves."""


class Backward(ABC):
    """Runs the model on one or several parts of a batch, and leaves in `.grad` of its parameters what the optimizer is
    to take: gradients of the global batch, equal on all ranks.

        outputs = backward.forward(part, last)                 # each part, `last` for the last of them
        rows = backward.compare(losses, weights_T)             # each part, if tasks are looked at by themselves
        compared = backward.settle([rows, ...], observed_T, weights_T)   # once; collective
        backward.descend(losses, rows, weights_T)              # each part, after a forward pass of its own
        backward.finish()                                      # once; collective

    With several parts the forward passes before `compare` and before `descend` are two; with one, the graph is kept in
    between. Every task's own parameters get the gradient of its weighted loss, as does what an architecture adds.
    """

    by_task: bool
    """Whether the tasks' gradients are looked at by themselves."""

    def __init__(self, exchange_rows: RowExchange) -> None:
        """`exchange_rows`: of the tables with sparse gradients."""
        self._exchange_rows = exchange_rows

    @abstractmethod
    def forward(self, batch: Batch, last: bool) -> dict[str, Tensor]:
        """The model's outputs for rows of this rank. `last`: no part of the batch comes after."""

    def compare(self, losses: Losses, weights_T: Tensor) -> Rows:  # noqa: ARG002
        """What this part says of each compared task's gradient."""
        return ()

    def settle(self, parts: Sequence[Rows], observed_T: Tensor, weights_T: Tensor) -> Compared | None:  # noqa: ARG002
        """Find what the tasks' gradients are multiplied by; None where tasks are not compared. Collective.

        Args:
            parts: what `compare` gave of each.
            observed_T: whether any rank has observed the task, bool `[T]`, equal on all ranks.
            weights_T: what the losses are multiplied by, float64 `[T]`, equal on all ranks.

        Raises NonFiniteGradient, on all ranks alike, where the gradient of a task is not finite.
        """
        return None

    @abstractmethod
    def descend(self, losses: Losses, rows: Rows, weights_T: Tensor) -> None:
        """Differentiate this part's losses; what `settle` found holds."""

    def finish(self) -> None:
        """All parts are differentiated: exchange what is not yet the global batch's. Collective."""
        self._exchange_rows()


class NonFiniteGradient(Exception):  # noqa: N818 - not an error by itself: the step is left out
    """The gradient of a task in this position is not finite."""

    def __init__(self, task: int) -> None:
        super().__init__(task)
        self.task = task


def aggregated(gradients: TaskGradients, aggregation: Aggregation | None) -> tuple[Compared, list[Tensor]]:
    """What is to be reported of the gradients, and the factors of each block; 1 without an aggregation. Collective.

    Raises NonFiniteGradient.
    """
    by_columns = aggregation is not None and not aggregation.reads_gramian
    task = gradients.not_finite(by_columns) if gradients.tasks else None
    if task is not None:
        raise NonFiniteGradient(task)
    if aggregation is None or not gradients.tasks:
        factors = [torch.ones(len(gradients.tasks), dtype=torch.float64)] * gradients.num_blocks
    else:
        factors = aggregation(gradients)
    same = factors[0].ndim == 1 and all(factor is factors[0] for factor in factors)
    return Compared(gradients, factors[0].cpu() if same else None), factors
