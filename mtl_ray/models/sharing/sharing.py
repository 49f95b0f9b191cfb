"""What every sharing architecture has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.models.auxiliary import AuxiliaryLoss
from mtl_ray.models.cut import Cut

Encoded = tuple[Tensor, ...]
"""Encoded rows `[B, D_i]`, one tensor for each of the architecture's `encoding_sets`; most have one."""


GateKey = tuple[int, int | str]
"""Level of a gate, 1 next to the encoder, and what reads its mixture: the position of a task, or else "shared gate" or
"group N"."""


class Sharing(nn.Module, ABC):
    """Between encoders and towers: what tasks share, and how each task reads it."""

    out_sizes: Sequence[int]
    """Width H_t of each task's input."""
    auxiliary_names: tuple[str, ...] = ()
    """Keys of `auxiliary_losses`."""
    cut: Cut
    """Where the tasks' gradients are compared: `forward` passes through it what all tasks read last, and whatever else
    leads past that from shared parameters to a task. Nothing, where tasks share nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = Cut()

    @abstractmethod
    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        """One input `[B, H_t]` for each task's tower, in task order."""

    @abstractmethod
    def representation(self, encoded: Encoded) -> Tensor:
        """The last thing that all tasks share, `[B, R]`; R is 0 where they share nothing."""

    @abstractmethod
    def task_parameters(self, index: int) -> list[nn.Parameter]:
        """Parameters that the loss of the task in position `index` alone reaches."""

    def inputs(self, encoded: Encoded) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """`forward`, and while training what `auxiliary_losses` needs of it, under names with a slash."""
        return self(encoded), {}

    def gates(self, encoded: Encoded) -> dict[GateKey, Tensor]:  # noqa: ARG002
        """Softmax gates over experts, `[B, E]` each, in the order of the levels; empty where the architecture has none.

        A structure's `mix` says which experts the columns are.
        """
        return {}

    def auxiliary_losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> dict[str, AuxiliaryLoss]:  # noqa: ARG002
        """This rank's part of each auxiliary loss: of the parameters, and of what `inputs` gave for `batch`."""
        return {}


def parameters_of(*modules: nn.Module) -> list[nn.Parameter]:
    """All parameters of `modules`."""
    return [parameter for module in modules for parameter in module.parameters()]


def nothing_shared(encoded: Encoded) -> Tensor:
    """The representation `[B, 0]` of tasks that share nothing."""
    return encoded[0][:, :0]
