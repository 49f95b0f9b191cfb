"""Shared and task-specific embeddings: Su et al., STEM: Unleashing the Power of Embeddings for Multi-Task
Recommendation, AAAI 2024 (STEM-Net)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.models.encoding import EncodingSet
from mtl_ray.models.experts import Experts
from mtl_ray.models.gate import Gate, Gating, side_by_side
from mtl_ray.models.settings import HiddenSizes
from mtl_ray.models.sharing.gated import GatedSettings, GatedSharing
from mtl_ray.models.sharing.sharing import Encoded, GateKey, parameters_of
from mtl_ray.schema import BatchSchema
from mtl_ray.tasks.graph import TaskGraph


class STEMConfig(GatedSettings):
    """`model: {name: stem}`. Embedding tables take tasks + 1 times the memory of the other architectures."""

    name: Literal["stem"] = "stem"
    task_experts: int = Field(default=2, ge=1)
    """Experts over each task's own embeddings."""
    shared_experts: int = Field(default=2, ge=1)
    """Experts over the shared embeddings."""
    expert: HiddenSizes = (256, 128)
    """Hidden sizes of each expert."""

    def encoding_sets(self, schema: BatchSchema) -> tuple[EncodingSet, ...]:
        return (EncodingSet(), *(EncodingSet(task=task) for task in range(len(schema.tasks))))

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> STEM:
        shared_experts = self._experts(self.shared_experts, in_sizes[0], self.expert)
        task_experts = [self._experts(self.task_experts, in_sizes[0], self.expert) for _ in graph.names]
        return STEM(task_experts, shared_experts, in_sizes[0], self._gating, self.load_balance)


class STEM(GatedSharing):
    """All forward, task-specific backward gating: task t's gate mixes the experts of all tasks and the shared ones, but
    no gradient goes through another task's experts, so that a task's embeddings and experts learn from it alone.

    x_0 are the shared embeddings, x_t those of task t. Task t's experts read x_t, the shared ones x_0. The gate is
    softmax(W_t (x_t + x_0)). Deviations: one level; numeric features stand in every set, as they are.
    """

    def __init__(
        self,
        task_experts: Sequence[Experts],
        shared_experts: Experts,
        in_size: int,
        gating: Gating,
        load_balance: float,
    ) -> None:
        super().__init__(load_balance)
        self.shared_experts = shared_experts
        self.task_experts = nn.ModuleList(task_experts)
        every = shared_experts.num_experts + sum(experts.num_experts for experts in task_experts)
        self.task_gates = nn.ModuleList(Gate(every, in_size, gating) for _ in task_experts)
        self.out_sizes = (shared_experts.out_size,) * len(task_experts)

    def mix(self, encoded: Encoded) -> tuple[tuple[Tensor, ...], dict[GateKey, Tensor]]:
        """A gate a task, over the experts of all tasks in task order and the shared ones."""
        x_shared, *x_tasks = encoded
        x_shared, shared_BEH = self.cut(x_shared, self.shared_experts(x_shared).transpose(0, 1))
        shared_EBH = shared_BEH.transpose(0, 1)
        task_EBH = [experts(x_BD) for experts, x_BD in zip(self.task_experts, x_tasks, strict=True)]
        outputs = []
        gates: dict[GateKey, Tensor] = {}
        for task, (gate, x_BD) in enumerate(zip(self.task_gates, x_tasks, strict=True)):
            # In the order of the tasks, the shared ones last.
            seen = [own if other == task else own.detach() for other, own in enumerate(task_EBH)]
            output_BH, gates[1, task] = gate(x_BD + x_shared, torch.cat([*seen, shared_EBH]))
            outputs.append(output_BH)
        return tuple(outputs), gates

    def representation(self, encoded: Encoded) -> Tensor:
        """The shared experts side by side, `[B, E_s * H]`."""
        return side_by_side(self.shared_experts(encoded[0]))

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        return parameters_of(self.task_experts[index], self.task_gates[index])
