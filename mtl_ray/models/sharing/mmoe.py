"""Multi-gate mixture of experts: Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
Mixture-of-Experts, KDD 2018."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.models.experts import Experts
from mtl_ray.models.gate import side_by_side
from mtl_ray.models.settings import HiddenSizes, ModelSettings
from mtl_ray.models.sharing.sharing import Encoded, Sharing
from mtl_ray.tasks.graph import TaskGraph


class MMoEConfig(ModelSettings):
    """`model: {name: mmoe}`."""

    name: Literal["mmoe"] = "mmoe"
    num_experts: int = Field(default=8, ge=1)
    expert: HiddenSizes = (256, 128)
    """Hidden sizes of each expert."""

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> MMoE:
        (in_size,) = in_sizes
        return MMoE(self._experts(self.num_experts, in_size, self.expert), in_size, len(graph))


class MMoE(Sharing):
    """Equations 6 and 7 of the paper: f_k(x) = sum_i g_k(x)_i f_i(x) with g_k(x) = softmax(W_gk x).

    All experts are shared, each task has a gate W_gk `[E, D_in]` of its own. Gates start at 0: every task begins
    with the mean of the experts.
    """

    def __init__(self, experts: Experts, in_size: int, num_tasks: int) -> None:
        super().__init__()
        self.experts = experts
        self.gates = nn.ParameterList(torch.zeros(experts.num_experts, in_size) for _ in range(num_tasks))
        self.out_sizes = (experts.out_size,) * num_tasks

    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        (x_BD,) = encoded
        expert_EBH = self.experts(x_BD)
        gate_BTE = self.gate(x_BD)
        mixed_BTH = torch.einsum("bte,ebh->bth", gate_BTE, expert_EBH)
        return mixed_BTH.unbind(dim=1)

    def gate(self, x_BD: Tensor) -> Tensor:
        """How much each task listens to each expert, `[B, T, E]`, summing to 1 over the experts."""
        # One product for all gates: x is the wide operand, and is read once.
        logits = nn.functional.linear(x_BD, torch.cat(tuple(self.gates)))
        return logits.view(-1, len(self.gates), self.experts.num_experts).softmax(dim=-1)

    def representation(self, encoded: Encoded) -> Tensor:
        """The experts' outputs side by side, `[B, E * H]`."""
        return side_by_side(self.experts(encoded[0]))

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        return [self.gates[index]]
