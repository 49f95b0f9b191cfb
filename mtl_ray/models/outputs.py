"""From what the towers say to the tasks' logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.models.auxiliary import AuxiliaryLoss
from mtl_ray.tasks import Task


class Outputs(nn.Module):
    """The towers' outputs are the logits. Architectures that join the tasks' outputs, or add losses on them, build a
    class of their own."""

    auxiliary_names: tuple[str, ...] = ()
    """Keys of `auxiliary_losses`, always all of them and in this order."""

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        """`tasks` in task order."""
        super().__init__()
        self.tasks = dict(tasks)

    def forward(self, inputs: Sequence[Tensor], logits: dict[str, Tensor]) -> dict[str, Tensor]:  # noqa: ARG002
        """Logits `[B, C_t]` by task from the towers' inputs `[B, H_t]` and outputs `[B, C_t]`.

        While training there may be more, for `auxiliary_losses`, under names with a slash, which no task's has.
        """
        return logits

    def auxiliary_losses(self, batch: Batch, logits: Mapping[str, Tensor]) -> dict[str, AuxiliaryLoss]:  # noqa: ARG002
        """This rank's part of each auxiliary loss, from what `forward` gave while training."""
        return {}

    def initial_bias(self, task: str) -> Tensor:
        """Bias `[C_t]` with which the head of the task's tower begins."""
        return self.tasks[task].initial_bias()

    def task_parameters(self, index: int) -> list[nn.Parameter]:  # noqa: ARG002
        """Parameters of this module that the loss of the task in position `index` alone reaches."""
        return []

    def tower_is_own(self, index: int) -> bool:  # noqa: ARG002
        """Whether no other task's loss reaches the tower of the task in position `index`."""
        return True
