"""What every loss weighting has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from mtl_ray.schema import LabelStatistics


@dataclass(frozen=True)
class WeightingContext:
    """What a weighting may be built from."""

    task_weights: Mapping[str, float]
    """The config's, in task order."""
    statistics: Mapping[str, LabelStatistics] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    """The tasks' types."""
    seed: int = 0


class StepLosses(NamedTuple):
    """The tasks' losses on the global batch, equal on all ranks, no gradient."""

    values: Tensor
    """Float64 `[T]` in task order; 0 where nothing was observed. NaN in steps in which nobody reads them."""
    observed: Tensor
    """Whether any rank has observed the task in this batch, bool `[T]`."""


class Weighting(nn.Module, ABC):
    """What each task's loss is multiplied by, step by step.

    A weighting may learn, by parameters `[T]` and `objective`: they are in the optimizer's group "weighting", and a
    task's entry rests in a step in which no rank has observed the task. No DDP averages their gradients: these are
    functions of what is equal on all ranks, so that they, and the parameters, are too. What else a weighting remembers
    are buffers, which checkpoints keep.

    In each step, on all ranks alike:

        weights = weighting(losses)             # before the backward pass
        weighting.objective(losses, norms)      # its gradient, before the optimizer's step
        weighting.end_step(losses)              # after it
    """

    reads_losses: ClassVar[bool] = True
    """Whether a call within a step reads the values of its losses. Where none does, ranks need not wait for one another
    between the forward and the backward pass."""
    needs_norms: ClassVar[bool] = False
    """Whether `objective` reads the norms of the tasks' gradients, in some steps at least."""

    task_weights: Tensor
    """The config's, which multiply what a method finds: float64 `[T]`; not in the state dict, as the config holds
    them."""
    used: Tensor
    """What the last step's losses were multiplied by, float64 `[T]`; before any, the config's weights."""
    learning_rate: float | None = None
    """Of the parameters; None: the optimizer's."""
    wants_losses_after: bool = False
    """Whether the same batch's losses are to be computed once more after the step, for `losses_after`."""

    def __init__(self, context: WeightingContext) -> None:
        super().__init__()
        self.tasks = tuple(context.task_weights)
        weights = torch.tensor(list(context.task_weights.values()), dtype=torch.float64)
        self.register_buffer("task_weights", weights, persistent=False)
        self.register_buffer("used", weights.clone(), persistent=False)

    def forward(self, losses: StepLosses) -> Tensor:
        """What this step's losses are multiplied by, float64 `[T]`, no gradient; equal on all ranks."""
        with torch.no_grad():
            self.begin_step(losses)
            self.used = self.weights(losses)
        return self.used

    @abstractmethod
    def weights(self, losses: StepLosses) -> Tensor:
        """What losses such as these are multiplied by, float64 `[T]`; changes nothing."""

    def begin_step(self, losses: StepLosses) -> None:
        """Take note of the losses before they are weighed."""

    @property
    def wants_norms(self) -> bool:
        """Whether `objective` reads them in the step that comes; the same on all ranks."""
        return self.needs_norms

    def objective(self, losses: StepLosses, norms_T: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """What the parameters minimise beside the weighted losses, a scalar; None: nothing is learnt by gradients.

        Args:
            losses: of this step.
            norms_T: length of each task's gradient of its unweighted loss on the global batch, at what the tasks share,
                float64; None where `wants_norms` was False before the step.
        """
        return None

    def end_step(self, losses: StepLosses) -> None:
        """Take note that the optimizer's step is done."""

    def losses_after(self, losses: StepLosses) -> None:
        """Take note of the batch's losses after the step."""

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Take note of the tasks' mean losses over an epoch, the same on all ranks; NaN where nothing was observed."""

    def by_task(self) -> dict[str, float]:
        """`used` by task."""
        return dict(zip(self.tasks, self.used.tolist(), strict=True))
