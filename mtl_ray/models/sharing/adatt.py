"""Adaptive task-to-task fusion: Li et al., AdaTT: Adaptive Task-to-Task Fusion Network for Multitask Learning in
Recommendations, KDD 2023."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.models.cut import Cut
from mtl_ray.models.experts import Experts
from mtl_ray.models.gate import Gate, Gating, Mixed, side_by_side
from mtl_ray.models.settings import Levels
from mtl_ray.models.sharing.gated import GatedSettings, GatedSharing
from mtl_ray.models.sharing.sharing import Encoded, GateKey, parameters_of
from mtl_ray.tasks.graph import TaskGraph


class AdaTTConfig(GatedSettings):
    """`model: {name: adatt, levels: [[256], [128]]}`."""

    name: Literal["adatt"] = "adatt"
    task_experts: int = Field(default=2, ge=1)
    """Native experts of each task, a level."""
    shared_experts: int = Field(default=1, ge=0)
    """Experts of the shared module, a level; 0: task-specific experts alone (AdaTT-sp)."""
    levels: Levels = ((256,), (128,))

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> AdaTT:
        (size,) = in_sizes
        levels = []
        for depth, hidden in enumerate(self.levels, start=1):
            modules = [self._experts(self.task_experts, size, hidden) for _ in graph.names]
            if self.shared_experts:
                modules.append(self._experts(self.shared_experts, size, hidden))
            fused = len(graph) if depth == len(self.levels) else len(modules)
            levels.append(FusionLevel(modules, size, fused, self._gating))
            size = hidden[-1]
        return AdaTT(levels, len(graph), self.load_balance)


class FusionLevel(nn.Module):
    """Section 4 of the paper. Each module (a task, or the shared one) has native experts over its own input, and a
    fusion unit that adds two mixtures:

    - AllExpertGF: softmax(W_m x_m) over the experts of all modules;
    - NativeExpertLF: v_m over its own experts, learnt but the same for every row; a single expert has weight 1.

    The last level has no fusion unit for the shared module.
    """

    def __init__(self, modules: Sequence[Experts], in_size: int, num_fused: int, gating: Gating) -> None:
        super().__init__()
        self.experts = nn.ModuleList(modules)
        every = sum(experts.num_experts for experts in modules)
        self.gates = nn.ModuleList(Gate(every, in_size, gating) for _ in range(num_fused))
        # Deviation: they start at 1 / E, as the gates do, not at random.
        self.native = nn.ModuleList(
            nn.ParameterList([torch.full((experts.num_experts,), 1.0 / experts.num_experts)])
            if experts.num_experts > 1
            else nn.ParameterList()
            for experts in modules[:num_fused]
        )
        self.out_size = modules[0].out_size

    def forward(self, inputs: Sequence[Tensor], cut: Cut | None = None) -> list[Mixed]:
        """The sum of both mixtures and the gate of AllExpertGF for each fused module, from `[B, D]` for each module.
        `cut`: the structure's, at the last level."""
        expert_EBH = self.outputs_of(inputs)
        if cut is not None:
            inputs, expert_EBH = self._cut(cut, inputs, expert_EBH)
        every_EBH = torch.cat(expert_EBH)
        fused = []
        for gate, native, x_BD, own_EBH in zip(self.gates, self.native, inputs, expert_EBH, strict=False):
            assert isinstance(native, nn.ParameterList)
            own_BH = torch.einsum("e,ebh->bh", native[0], own_EBH) if len(native) else own_EBH[0]
            all_BH, gate_BE = gate(x_BD, every_EBH)
            fused.append(Mixed(all_BH + own_BH, gate_BE))
        return fused

    def outputs_of(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Each module's native experts, `[E_m, B, H]`."""
        return [experts(x_BD) for experts, x_BD in zip(self.experts, inputs, strict=True)]

    def _cut(self, cut: Cut, inputs: Sequence[Tensor], expert_EBH: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """What the fusion units read: the inputs of those modules that have one, and all experts."""
        fused = len(self.gates)
        read = cut(*inputs[:fused], *(own_EBH.transpose(0, 1) for own_EBH in expert_EBH))
        return list(read[:fused]), [own_BEH.transpose(0, 1) for own_BEH in read[fused:]]


class AdaTT(GatedSharing):
    """Levels of experts and fusion units; what a module's unit gives is its input a level up, x at the bottom."""

    def __init__(self, levels: Sequence[FusionLevel], num_tasks: int, load_balance: float) -> None:
        super().__init__(load_balance)
        self.levels = nn.ModuleList(levels)
        self.out_sizes = (levels[-1].out_size,) * num_tasks

    def mix(self, encoded: Encoded) -> tuple[tuple[Tensor, ...], dict[GateKey, Tensor]]:
        """At each level a gate a task, and below the last one the shared module's, over the experts of all modules: the
        tasks' in task order, the shared ones last."""
        inputs, gates = self._below_last(encoded)
        fused = self._level(-1)(inputs, self.cut)
        gates |= self._named(len(self.levels), fused)
        return tuple(mixed.output for mixed in fused), gates

    def representation(self, encoded: Encoded) -> Tensor:
        """The last level's experts side by side, `[B, E * H]`: every task's fusion unit reads them all."""
        return side_by_side(torch.cat(self._level(-1).outputs_of(self._below_last(encoded)[0])))

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        last = self._level(-1)
        return parameters_of(last.gates[index], last.native[index])

    def _below_last(self, encoded: Encoded) -> tuple[list[Tensor], dict[GateKey, Tensor]]:
        inputs = [encoded[0]] * len(self._level(0).experts)
        gates: dict[GateKey, Tensor] = {}
        for depth, level in enumerate(self.levels[:-1], start=1):
            fused = level(inputs)
            gates |= self._named(depth, fused)
            inputs = [mixed.output for mixed in fused]
        return inputs, gates

    def _named(self, depth: int, fused: Sequence[Mixed]) -> dict[GateKey, Tensor]:
        num_tasks = len(self.out_sizes)
        return {(depth, at if at < num_tasks else "shared gate"): mixed.gate for at, mixed in enumerate(fused)}

    def _level(self, index: int) -> FusionLevel:
        level = self.levels[index]
        assert isinstance(level, FusionLevel)
        return level
