"""Progressive layered extraction: Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL)
Model for Personalized Recommendations, RecSys 2020."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from mtl_ray.models.gate import side_by_side
from mtl_ray.models.settings import Levels
from mtl_ray.models.sharing.cgc import ExtractionLevel
from mtl_ray.models.sharing.gated import GatedSettings, GatedSharing
from mtl_ray.models.sharing.sharing import Encoded, GateKey, parameters_of
from mtl_ray.tasks.graph import TaskGraph


class PLEConfig(GatedSettings):
    """`model: {name: ple, levels: [[256], [128]]}`."""

    name: Literal["ple"] = "ple"
    task_experts: int = Field(default=2, ge=1)
    """Experts of each task, a level."""
    shared_experts: int = Field(default=2, ge=1)
    """Shared experts, a level."""
    levels: Levels = ((256,), (128,))

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> PLE:
        (size,) = in_sizes
        levels = []
        for depth, hidden in enumerate(self.levels, start=1):
            task_experts = [self._experts(self.task_experts, size, hidden) for _ in graph.names]
            shared_experts = self._experts(self.shared_experts, size, hidden)
            last = depth == len(self.levels)
            levels.append(ExtractionLevel(task_experts, shared_experts, size, self._gating, last))
            size = hidden[-1]
        return PLE(levels, self.load_balance)


class PLE(GatedSharing):
    """Equations 5 and 6 of the paper: level j of task k reads g_(k, j-1), the shared part the output of the shared gate
    below, g_(s, j-1); all of them begin with x. One level is CGC."""

    def __init__(self, levels: Sequence[ExtractionLevel], load_balance: float) -> None:
        super().__init__(load_balance)
        self.levels = nn.ModuleList(levels)
        self.out_sizes = (levels[-1].out_size,) * len(levels[-1].task_gates)

    def mix(self, encoded: Encoded) -> tuple[tuple[Tensor, ...], dict[GateKey, Tensor]]:
        """At each level a gate a task, over its own experts and the shared ones; below the last one the shared gate,
        over the experts of all tasks in task order and the shared ones."""
        x_tasks, x_shared, gates = self._below_last(encoded)
        outputs, _ = self._level(-1)(x_tasks, x_shared, self.cut)
        gates |= {(len(self.levels), task): mixed.gate for task, mixed in enumerate(outputs)}
        return tuple(mixed.output for mixed in outputs), gates

    def representation(self, encoded: Encoded) -> Tensor:
        """The last level's shared experts side by side, `[B, E_s * H]`."""
        _, x_shared, _ = self._below_last(encoded)
        return side_by_side(self._level(-1).shared_experts(x_shared))

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        """Experts and gate of the last level, and the gate below them, which nothing else reads."""
        last = self._level(-1)
        own: list[nn.Module] = [last.task_experts[index], last.task_gates[index]]
        if len(self.levels) > 1:
            own.append(self._level(-2).task_gates[index])
        return parameters_of(*own)

    def _below_last(self, encoded: Encoded) -> tuple[list[Tensor], Tensor, dict[GateKey, Tensor]]:
        (x_shared,) = encoded
        x_tasks = [x_shared] * len(self.out_sizes)
        gates: dict[GateKey, Tensor] = {}
        for depth, level in enumerate(self.levels[:-1], start=1):
            outputs, shared = level(x_tasks, x_shared)
            gates |= {(depth, task): mixed.gate for task, mixed in enumerate(outputs)}
            gates[depth, "shared gate"] = shared.gate
            x_tasks, x_shared = [mixed.output for mixed in outputs], shared.output
        return x_tasks, x_shared, gates

    def _level(self, index: int) -> ExtractionLevel:
        level = self.levels[index]
        assert isinstance(level, ExtractionLevel)
        return level
