"""Multi-gate mixture of experts: Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
Mixture-of-Experts, KDD 2018."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.models.experts import Experts
from mtl_ray.models.gate import Gating, side_by_side
from mtl_ray.models.settings import HiddenSizes
from mtl_ray.models.sharing.gated import GatedSettings, GatedSharing
from mtl_ray.models.sharing.sharing import Encoded, GateKey
from mtl_ray.tasks.graph import TaskGraph


class MMoEConfig(GatedSettings):
    """`model: {name: mmoe}`."""

    name: Literal["mmoe"] = "mmoe"
    num_experts: int = Field(default=8, ge=1)
    expert: HiddenSizes = (256, 128)
    """Hidden sizes of each expert."""

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> MMoE:
        (in_size,) = in_sizes
        experts = self._experts(self.num_experts, in_size, self.expert)
        return MMoE(experts, in_size, len(graph), self._gating, self.load_balance)


class MMoE(GatedSharing):
    """Equations 6 and 7 of the paper: f_k(x) = sum_i g_k(x)_i f_i(x) with g_k(x) = softmax(W_gk x).

    All experts are shared, each task has a gate W_gk `[E, D_in]` of its own. Gates start at 0: every task begins
    with the mean of the experts.
    """

    def __init__(self, experts: Experts, in_size: int, num_tasks: int, gating: Gating, load_balance: float) -> None:
        super().__init__(load_balance)
        self._gating = gating
        self.experts = experts
        self.gate_weights = nn.ParameterList(torch.zeros(experts.num_experts, in_size) for _ in range(num_tasks))
        self.out_sizes = (experts.out_size,) * num_tasks

    def mix(self, encoded: Encoded) -> tuple[tuple[Tensor, ...], dict[GateKey, Tensor]]:
        """A gate a task, over the experts."""
        x_BD, expert_BEH = self.cut(encoded[0], self.experts(encoded[0]).transpose(0, 1))
        score_BTE = self._scores(x_BD)
        gate_BTE = self._gating.weights(score_BTE)
        used_BTE = self._gating.thinned(score_BTE) if self.training and self._gating.expert_dropout else gate_BTE
        mixed_BTH = torch.einsum("bte,beh->bth", used_BTE, expert_BEH)
        return mixed_BTH.unbind(dim=1), {(1, task): gate_BE for task, gate_BE in enumerate(gate_BTE.unbind(dim=1))}

    def representation(self, encoded: Encoded) -> Tensor:
        """The experts' outputs side by side, `[B, E * H]`."""
        return side_by_side(self.experts(encoded[0]))

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        return [self.gate_weights[index]]

    def _scores(self, x_BD: Tensor) -> Tensor:
        """W_gk x of all tasks, `[B, T, E]`."""
        # One product for all gates: x is the wide operand, and is read once.
        scores = nn.functional.linear(x_BD, torch.cat(tuple(self.gate_weights)))
        return scores.view(-1, len(self.gate_weights), self.experts.num_experts)
