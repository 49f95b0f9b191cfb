"""The affinities of a training's measured steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class AffinityRecord:
    """One matrix a measured step, in the order of the steps.

    It is part of the training's state: a training that goes on from a checkpoint has those of the steps before it, and
    measures each later step once.
    """

    def __init__(self, tasks: int, every: int | None) -> None:
        """
        Args:
            every: steps from one measured step to the next; None: none is measured.
        """
        self._every = every
        self._tasks = tasks
        self._steps: list[int] = []
        self._found: list[Tensor] = []

    def due(self, step: int) -> bool:
        """Whether step `step` (0 is the first) is to be measured."""
        return self._every is not None and step % self._every == 0

    def add(self, step: int, affinity_TT: Tensor) -> None:
        """Add what step `step` showed."""
        self._steps.append(step)
        self._found.append(affinity_TT)

    def state_dict(self) -> dict[str, Tensor]:
        """`steps` `[M]` and `affinity` float64 `[M, T, T]` of the M measured steps."""
        empty = torch.zeros(0, self._tasks, self._tasks, dtype=torch.float64)
        return {
            "steps": torch.tensor(self._steps, dtype=torch.int64),
            "affinity": torch.stack(self._found) if self._found else empty,
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Begin with what `state_dict` gave."""
        self._steps = state["steps"].tolist()
        self._found = list(state["affinity"].unbind())
