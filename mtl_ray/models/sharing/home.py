"""Hierarchy of multi-gate experts: Wang et al., HoME: Hierarchy of Multi-Gate Experts for Multi-Task Learning at
Kuaishou, KDD 2025 (arXiv 2408.05430)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.errors import ConfigError, nearest
from mtl_ray.models.experts import Experts
from mtl_ray.models.gate import Gate, Gating, Mixed, mixed, side_by_side
from mtl_ray.models.mlp import Activation
from mtl_ray.models.norm import Norm
from mtl_ray.models.settings import HiddenSizes
from mtl_ray.models.sharing.gated import GatedSettings, GatedSharing
from mtl_ray.models.sharing.sharing import Encoded, GateKey, parameters_of
from mtl_ray.tasks import TaskSettings
from mtl_ray.tasks.graph import TaskGraph


class HoMEConfig(GatedSettings):
    """`model: {name: home, groups: [[click, long_view], [like, follow, comment]]}`."""

    task_graph: ClassVar[Literal["used"]] = "used"

    name: Literal["home"] = "home"
    activation: Activation = "silu"
    norm: Norm = "batch"
    groups: tuple[tuple[str, ...], ...] = ()
    """Which tasks have group experts in common; each task in one group. Empty: tasks that hang together in the task
    graph are a group."""
    num_experts: int = Field(default=2, ge=1)
    """Experts of each kind: shared and of each group in the meta level; shared, of each group, of each task above."""
    meta: HiddenSizes = (256,)
    """Hidden sizes of the meta level's experts."""
    expert: HiddenSizes = (128,)
    """Hidden sizes of the experts above."""
    rank: int = Field(default=16, ge=1)
    """Rank of the feature gates."""

    def check_tasks(self, tasks: Mapping[str, TaskSettings]) -> None:
        super().check_tasks(tasks)
        named = [name for group in self.groups for name in group]
        for name in named:
            if name not in tasks:
                guess = nearest(name, tasks)
                raise ConfigError(
                    "model.groups names a task that does not exist.",
                    where="model.groups",
                    found=name,
                    allowed=", ".join(tasks),
                    fix=f"write {guess}" if guess else "name one of the tasks",
                )
        if self.groups and sorted(named) != sorted(tasks):
            missing = [name for name in tasks if name not in named]
            twice = sorted({name for name in named if named.count(name) > 1})
            raise ConfigError(
                "model.groups does not put each task into one group.",
                where="model.groups",
                found=f"missing: {', '.join(missing)}" if missing else f"more than once: {', '.join(twice)}",
                allowed="each task once",
                fix="mend the groups, or remove the key",
            )

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> HoME:
        (in_size,) = in_sizes
        if self.groups:
            groups = tuple(tuple(graph.names.index(name) for name in group) for group in self.groups if group)
        else:
            groups = graph.components()

        def meta() -> GatedExperts:
            return GatedExperts(self._experts(self.num_experts, in_size, self.meta), in_size, self.rank)

        def upper() -> GatedExperts:
            return GatedExperts(self._experts(self.num_experts, self.meta[-1], self.expert), self.meta[-1], self.rank)

        first = [meta() for _ in range(len(groups) + 1)]
        second = [upper() for _ in range(len(groups) + 1)]
        tasks = [upper() for _ in graph.names]
        return HoME(groups, first, second, tasks, in_size, self._gating, self.load_balance)


class GatedExperts(nn.Module):
    """Experts with a feature gate each (section "feature-gate"): expert e reads x * 2 sigmoid(x B_e A_e), and so learns
    from the features that it needs. The low-rank A starts near 0, which leaves x as it is.

    Deviation: one low-rank product an expert, where the paper weighs several.
    """

    def __init__(self, experts: Experts, in_size: int, rank: int) -> None:
        super().__init__()
        self.experts = experts
        self.down = nn.Parameter(torch.empty(experts.num_experts, in_size, rank))
        self.up = nn.Parameter(torch.empty(experts.num_experts, rank, in_size))
        nn.init.normal_(self.down, std=in_size**-0.5)
        nn.init.normal_(self.up, std=0.01)
        self.num_experts = experts.num_experts
        self.out_size = experts.out_size

    def forward(self, x_BD: Tensor) -> Tensor:
        """`[E, B, H]`."""
        low_EBR = torch.einsum("bd,edr->ebr", x_BD, self.down)
        gated_EBD: Tensor = x_BD * (2.0 * torch.sigmoid(torch.bmm(low_EBR, self.up)))
        outputs: Tensor = self.experts(gated_EBD)
        return outputs


class SelfGate(nn.Module):
    """Weights of a module's own experts in the residual (section "self-gate"): softmax(W x), or sigmoid(W x) of a
    single expert. `[B, E]`."""

    def __init__(self, num_experts: int, in_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_experts, in_size))

    def forward(self, x_BD: Tensor) -> Tensor:
        score_BE = nn.functional.linear(x_BD, self.weight)
        return score_BE.softmax(dim=-1) if score_BE.shape[-1] > 1 else score_BE.sigmoid()


class Mixture(nn.Module):
    """Gate over all experts that are seen, plus self-gate over one's own."""

    def __init__(self, num_seen: int, num_own: int, in_size: int, gating: Gating) -> None:
        super().__init__()
        self.gate = Gate(num_seen, in_size, gating)
        self.self_gate = SelfGate(num_own, in_size)

    def forward(self, x_BD: Tensor, seen_EBH: Tensor, own_EBH: Tensor) -> Mixed:
        """Both together, and what the gate says."""
        seen_BH, gate_BE = self.gate(x_BD, seen_EBH)
        return Mixed(seen_BH + mixed(self.self_gate(x_BD), own_EBH), gate_BE)


class HoME(GatedSharing):
    """Two levels under a hierarchy mask.

    Meta level, all reading x: z_g mixes the shared and the group's experts, z_s those of all groups and the shared
    ones. Above, the shared experts read z_s, those of group g and of its tasks z_g; task k mixes the shared, its
    group's and its own experts by z_g. Each mixture has a self-gate over the experts of its own.

    Expert normalization and Swish: an expert's layer is linear, batch norm, SiLU (`activation` and `norm` are the
    config's, with these defaults, and hold for the towers too). The config's gate_temperature, expert_dropout and
    load_balance are those of the gates, not of the self-gates.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[int]],
        first: Sequence[GatedExperts],
        second: Sequence[GatedExperts],
        tasks: Sequence[GatedExperts],
        in_size: int,
        gating: Gating,
        load_balance: float,
    ) -> None:
        """`first` and `second`: a group's experts each, the shared ones last."""
        super().__init__(load_balance)
        self.groups = tuple(tuple(group) for group in groups)
        self._group_of = {task: index for index, group in enumerate(self.groups) for task in group}
        self.meta_experts = nn.ModuleList(first)
        self.upper_experts = nn.ModuleList(second)
        self.task_experts = nn.ModuleList(tasks)
        count, size = first[0].num_experts, first[0].out_size
        self.meta_mixtures = nn.ModuleList(
            [
                *(Mixture(2 * count, count, in_size, gating) for _ in self.groups),
                Mixture(count * (len(self.groups) + 1), count, in_size, gating),
            ]
        )
        self.task_mixtures = nn.ModuleList(Mixture(3 * count, count, size, gating) for _ in tasks)
        self.out_sizes = (tasks[0].out_size,) * len(tasks)

    def mix(self, encoded: Encoded) -> tuple[tuple[Tensor, ...], dict[GateKey, Tensor]]:
        """Level 1: a gate a group, over its own experts and the shared ones, and the shared gate, over those of all
        groups and the shared ones. Level 2: a gate a task, over its own, its group's and the shared experts."""
        z, gates = self._meta(encoded)
        group_BEH = [experts(x_BD).transpose(0, 1) for experts, x_BD in zip(self.upper_experts, z, strict=True)]
        # z_s is read below alone.
        read = self.cut(*z[:-1], *group_BEH)
        z = list(read[: len(self.groups)])
        group_EBH = [group.transpose(0, 1) for group in read[len(self.groups) :]]
        outputs = []
        for task, (experts, mixture) in enumerate(zip(self.task_experts, self.task_mixtures, strict=True)):
            group = self._group_of[task]
            own_EBH = experts(z[group])
            seen_EBH = torch.cat([own_EBH, group_EBH[group], group_EBH[-1]])
            output_BH, gates[2, task] = mixture(z[group], seen_EBH, own_EBH)
            outputs.append(output_BH)
        return tuple(outputs), gates

    def representation(self, encoded: Encoded) -> Tensor:
        """The upper shared experts side by side, `[B, E * H]`."""
        return side_by_side(self.upper_experts[-1](self._meta(encoded)[0][-1]))

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        own: list[nn.Module] = [self.task_experts[index], self.task_mixtures[index]]
        group = self._group_of[index]
        if len(self.groups[group]) == 1:
            own += [self.upper_experts[group], self.meta_mixtures[group]]
        return parameters_of(*own)

    def _meta(self, encoded: Encoded) -> tuple[list[Tensor], dict[GateKey, Tensor]]:
        """z of each group, and z_s; and the gates."""
        (x_BD,) = encoded
        meta_EBH = [experts(x_BD) for experts in self.meta_experts]
        *group_mixtures, shared_mixture = self.meta_mixtures
        z = []
        gates: dict[GateKey, Tensor] = {}
        for group, (mixture, own_EBH) in enumerate(zip(group_mixtures, meta_EBH, strict=False), start=1):
            z_BH, gates[1, f"group {group}"] = mixture(x_BD, torch.cat([own_EBH, meta_EBH[-1]]), own_EBH)
            z.append(z_BH)
        z_BH, gates[1, "shared gate"] = shared_mixture(x_BD, torch.cat(meta_EBH), meta_EBH[-1])
        return [*z, z_BH], gates
