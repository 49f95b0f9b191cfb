"""What every loss weighting has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Weighting(nn.Module, ABC):
    """From the tasks' losses to the one number that is differentiated.

    A weighting may learn, by parameters `[T]`: they are in the optimizer's group "weighting", and a task's entry rests
    in a step in which no rank has observed the task. No DDP averages their gradients: these are to be functions of the
    global losses alone, so that they, and the parameters, are the same on all ranks.
    """

    task_weights: Tensor
    """The config's, which multiply what a method finds: float64 `[T]`; not in the state dict, as the config holds
    them."""
    learning_rate: float | None = None
    """Of the parameters; None: the optimizer's."""

    def __init__(self, task_weights: Mapping[str, float]) -> None:
        """`task_weights` in task order."""
        super().__init__()
        self.tasks = tuple(task_weights)
        weights = torch.tensor(list(task_weights.values()), dtype=torch.float64)
        self.register_buffer("task_weights", weights, persistent=False)

    @abstractmethod
    def weights(self) -> Tensor:
        """What each task's loss is multiplied by in the next step, float64 `[T]`, no gradient; equal on all ranks."""

    def forward(self, losses_T: Tensor, global_T: Tensor, observed_T: Tensor) -> Tensor:  # noqa: ARG002
        """The total, a scalar of the losses' dtype; its mean over ranks is the total of the global batch.

        Args:
            losses_T: this rank's losses in task order, as `mtl_ray.tasks.losses.normalise` gives them.
            global_T: the losses of the global batch, no gradient, equal on all ranks; 0 where nothing was observed.
            observed_T: whether any rank has observed the task in this batch, bool.
        """
        return torch.dot(losses_T, self.weights().to(losses_T.dtype))

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Take note of the tasks' mean losses over an epoch, the same on all ranks; NaN where nothing was observed."""

    def by_task(self) -> dict[str, float]:
        """`weights` by task."""
        return dict(zip(self.tasks, self.weights().tolist(), strict=True))
