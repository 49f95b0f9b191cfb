"""Customized gate control: the one-level model of Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task
Learning (MTL) Model for Personalized Recommendations, RecSys 2020."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.models.cut import Cut
from mtl_ray.models.experts import Experts
from mtl_ray.models.gate import Gate, Gating, Mixed, side_by_side
from mtl_ray.models.settings import HiddenSizes
from mtl_ray.models.sharing.gated import GatedSettings, GatedSharing
from mtl_ray.models.sharing.sharing import Encoded, GateKey, parameters_of
from mtl_ray.tasks.graph import TaskGraph


class CGCConfig(GatedSettings):
    """`model: {name: cgc}`."""

    name: Literal["cgc"] = "cgc"
    task_experts: int = Field(default=2, ge=1)
    """Experts of each task."""
    shared_experts: int = Field(default=2, ge=1)
    expert: HiddenSizes = (256, 128)
    """Hidden sizes of each expert."""

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> CGC:
        (in_size,) = in_sizes
        task_experts = [self._experts(self.task_experts, in_size, self.expert) for _ in graph.names]
        shared_experts = self._experts(self.shared_experts, in_size, self.expert)
        level = ExtractionLevel(task_experts, shared_experts, in_size, self._gating, last=True)
        return CGC(level, self.load_balance)


class ExtractionLevel(nn.Module):
    """Equations 1 to 3 of the paper: g_k = w_k(x_k) S_k with w_k(x) = softmax(W_k x) over S_k, the experts of task k
    and the shared ones. Below the last level a shared gate mixes the experts of all tasks and the shared ones.

    Task k's experts and gate read x_k, the shared ones x_s.
    """

    def __init__(
        self, task_experts: Sequence[Experts], shared_experts: Experts, in_size: int, gating: Gating, last: bool
    ) -> None:
        super().__init__()
        self.task_experts = nn.ModuleList(task_experts)
        self.shared_experts = shared_experts
        shared = shared_experts.num_experts
        own = [experts.num_experts for experts in task_experts]
        self.task_gates = nn.ModuleList(Gate(number + shared, in_size, gating) for number in own)
        self.shared_gate = None if last else Gate(sum(own) + shared, in_size, gating)
        self.out_size = shared_experts.out_size

    def forward(
        self, x_tasks: Sequence[Tensor], x_shared: Tensor, cut: Cut | None = None
    ) -> tuple[list[Mixed], Mixed | None]:
        """The mixture of each task, of its own experts and the shared ones, and below the last level the shared one, of
        all tasks' experts in task order and the shared ones. `cut`: the structure's, at the last level."""
        shared_EBH = self.shared_experts(x_shared)
        if cut is not None:
            *x_tasks, shared_BEH = cut(*x_tasks, shared_EBH.transpose(0, 1))
            shared_EBH = shared_BEH.transpose(0, 1)
        task_EBH = [experts(x_BD) for experts, x_BD in zip(self.task_experts, x_tasks, strict=True)]
        outputs = [
            gate(x_BD, torch.cat([own_EBH, shared_EBH]))
            for gate, x_BD, own_EBH in zip(self.task_gates, x_tasks, task_EBH, strict=True)
        ]
        if self.shared_gate is None:
            return outputs, None
        return outputs, self.shared_gate(x_shared, torch.cat([*task_EBH, shared_EBH]))


class CGC(GatedSharing):
    """y_k = t_k(g_k(x)): equation 4, with the tower t_k."""

    def __init__(self, level: ExtractionLevel, load_balance: float) -> None:
        super().__init__(load_balance)
        self.level = level
        self.out_sizes = (level.out_size,) * len(level.task_gates)

    def mix(self, encoded: Encoded) -> tuple[tuple[Tensor, ...], dict[GateKey, Tensor]]:
        """A gate a task, over its own experts and the shared ones."""
        (x_BD,) = encoded
        outputs, _ = self.level([x_BD] * len(self.out_sizes), x_BD, self.cut)
        gates: dict[GateKey, Tensor] = {(1, task): mixed.gate for task, mixed in enumerate(outputs)}
        return tuple(mixed.output for mixed in outputs), gates

    def representation(self, encoded: Encoded) -> Tensor:
        """The shared experts side by side, `[B, E_s * H]`."""
        return side_by_side(self.level.shared_experts(encoded[0]))

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        return parameters_of(self.level.task_experts[index], self.level.task_gates[index])
