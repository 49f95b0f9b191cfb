"""What every aggregation of the tasks' gradients has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mtl_ray.aggregation.gradients import TaskGradients
from mtl_ray.schema import Settings

Place = Literal["representation", "shared"]


@dataclass(frozen=True)
class AggregationContext:
    """What an aggregation may be built from."""

    tasks: Sequence[str]
    """In task order."""
    seed: int = 0


class AggregationSettings(Settings, ABC):
    """`aggregation` of the config; `name` and what the method needs are added by each."""

    on: Place = "representation"
    """Where the tasks' gradients are compared: at the representation that they share, which costs little, or over all
    dense shared parameters, embedding tables left out. What the tasks share is moved by the aggregated gradient in both
    cases; with `shared` the embedding tables take each task's gradient by its weight in the aggregate."""

    @abstractmethod
    def build(self, context: AggregationContext) -> Aggregation | None:
        """The aggregation before the first step, on the CPU; None: the plain sum."""

    def check_tasks(self, tasks: Sequence[str]) -> None:
        """Raise `ConfigError` where the method cannot aggregate the gradients of these tasks."""


class Aggregation(nn.Module, ABC):
    """From the tasks' gradients, each of its weighted loss, to the one that what they share learns from.

    All is computed from what is equal on all ranks, and draws are functions of (seed, step): every rank finds the same
    factors. What a method remembers are buffers, which checkpoints keep. Tasks that no rank has observed are not there.
    """

    step: Tensor
    """Steps so far, int64."""
    reads_gramian = True
    """Whether it reads inner products of the gradients; one that does not reads `TaskGradients.columns`."""

    def __init__(self, context: AggregationContext) -> None:
        super().__init__()
        self.tasks = tuple(context.tasks)
        self._seed = context.seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, gradients: TaskGradients) -> list[Tensor]:
        """What each task's gradient is multiplied by in each block, float64 `[T]`, or `[T, C_k]`."""
        with torch.no_grad():
            found = self.factors(gradients)
            self.step += 1
        return found

    @abstractmethod
    def factors(self, gradients: TaskGradients) -> list[Tensor]:
        """As `forward`, without counting the step."""

    def draws(self) -> torch.Generator:
        """Where this step's random numbers come from, the same on all ranks and after a restart."""
        return torch.Generator().manual_seed(hash((self._seed, int(self.step))) % 2**63)


class GramianAggregation(Aggregation):
    """An aggregation that reads only inner products of the gradients: its factors are one number a task."""

    def factors(self, gradients: TaskGradients) -> list[Tensor]:
        factor_T = self.from_gramian(gradients.gramian, gradients.tasks)
        return [factor_T] * gradients.num_blocks

    @abstractmethod
    def from_gramian(self, gramian_TT: Tensor, tasks: Sequence[int]) -> Tensor:
        """Float64 `[T]` from float64 `[T, T]`, both on the CPU, of the tasks in these positions."""
