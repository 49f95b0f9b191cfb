"""Sub-network routing: Ma et al., SNR: Sub-Network Routing for Flexible Parameter Sharing in Multi-Task Learning, AAAI
2019, with the hard concrete gates of Louizos, Welling and Kingma, Learning Sparse Neural Networks through L0
Regularization, ICLR 2018."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.models.auxiliary import AuxiliaryLoss, penalty
from mtl_ray.models.experts import Experts
from mtl_ray.models.gate import side_by_side
from mtl_ray.models.settings import HiddenSizes, ModelSettings
from mtl_ray.models.sharing.sharing import Encoded, Sharing, parameters_of
from mtl_ray.tasks.graph import TaskGraph

BETA = 2.0 / 3.0
"""Temperature of the gates; this, GAMMA and ZETA are those of Louizos et al., section 4."""
GAMMA, ZETA = -0.1, 1.1
"""The concrete variable is stretched to this range before it is clipped to [0, 1]."""


class SNRConfig(ModelSettings):
    """`model: {name: snr}`."""

    name: Literal["snr"] = "snr"
    num_experts: int = Field(default=4, ge=1)
    """Sub-networks a level."""
    expert: HiddenSizes = (256, 128)
    """Size of the sub-networks of each level, from the encoder up."""
    connection: Literal["transform", "average"] = "transform"
    """What a connection does: a matrix of its own (SNR-Trans), or nothing (SNR-Aver)."""
    l0_weight: float = Field(default=1e-4, ge=0.0, allow_inf_nan=False)
    """Coefficient of the expected number of open gates: larger, and more connections close."""

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> SNR:
        sizes = [*in_sizes, *self.expert]
        levels = [self._experts(self.num_experts, a, (b,)) for a, b in zip(sizes, self.expert, strict=False)]
        return SNR(levels, len(graph), transform=self.connection == "transform", l0_weight=self.l0_weight)


class Connection(nn.Module):
    """sum_i z_i W_i u_i over the sub-networks u below: section 3 of Ma et al., W_i = I for SNR-Aver.

    While training z_i is drawn anew in every step (Louizos et al., equations 10 and 11), on every worker for itself, as
    dropout is; otherwise it is its deterministic value (equation 13).
    """

    def __init__(self, num_experts: int, size: int, transform: bool) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.ones(num_experts))
        self.weight: nn.Parameter | None = None
        if transform:
            # The sum of E products keeps the variance of what it reads.
            bound = math.sqrt(3.0 / (num_experts * size))
            self.weight = nn.Parameter(torch.empty(num_experts, size, size).uniform_(-bound, bound))

    def forward(self, expert_EBH: Tensor) -> Tensor:
        gate_E = self.gate()
        if self.weight is None:
            return torch.einsum("e,ebh->bh", gate_E, expert_EBH)
        return torch.einsum("e,ebh,ehk->bk", gate_E, expert_EBH, self.weight)

    def gate(self) -> Tensor:
        """z `[E]`, between 0 and 1, both included."""
        if self.training:
            # Away from 0 and 1, whose logits are infinite.
            u_E = torch.rand_like(self.log_alpha).clamp(1e-6, 1.0 - 1e-6)
            concrete_E = torch.sigmoid((torch.log(u_E) - torch.log1p(-u_E) + self.log_alpha) / BETA)
        else:
            concrete_E = torch.sigmoid(self.log_alpha)
        return (concrete_E * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0)

    def expected_open(self) -> Tensor:
        """Sum over the gates of the probability that z is not 0: Louizos et al., equation 12."""
        return torch.sigmoid(self.log_alpha - BETA * math.log(-GAMMA / ZETA)).sum()


class SNR(Sharing):
    """Levels of sub-networks; each sub-network above, and each task, reads those below through gated connections.

    Deviation: every level is one layer deep, and has the same number of sub-networks.
    """

    auxiliary_names = ("open_gates",)

    def __init__(self, levels: Sequence[Experts], num_tasks: int, transform: bool, l0_weight: float) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        size = levels[-1].out_size
        self.out_sizes = (size,) * num_tasks
        self._l0_weight = l0_weight
        count = levels[0].num_experts
        self.connections = nn.ModuleList(
            nn.ModuleList(Connection(count, level.out_size, transform) for _ in range(count)) for level in levels[:-1]
        )
        """Per level but the last, and sub-network above it."""
        self.task_connections = nn.ModuleList(Connection(count, size, transform) for _ in range(num_tasks))

    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        (expert_BEH,) = self.cut(self._top(encoded).transpose(0, 1))
        return tuple(connection(expert_BEH.transpose(0, 1)) for connection in self.task_connections)

    def representation(self, encoded: Encoded) -> Tensor:
        """The last level's sub-networks side by side, `[B, E * H]`."""
        return side_by_side(self._top(encoded))

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        return parameters_of(self.task_connections[index])

    def auxiliary_losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> dict[str, AuxiliaryLoss]:  # noqa: ARG002
        open_gates = [module.expected_open() for module in self.modules() if isinstance(module, Connection)]
        return {"open_gates": penalty(self._l0_weight * torch.stack(open_gates).sum())}

    def _top(self, encoded: Encoded) -> Tensor:
        first, *above = self.levels
        expert_EBH: Tensor = first(encoded[0])
        for connections, level in zip(self.connections, above, strict=True):
            assert isinstance(connections, nn.ModuleList)
            expert_EBH = level(torch.stack([connection(expert_EBH) for connection in connections]))
        return expert_EBH
