"""Softmax gates over experts."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """softmax(W x), `[B, E]` from `[B, D]`. W `[E, D]` starts at 0: the mean of the experts."""

    def __init__(self, num_experts: int, in_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_experts, in_size))

    def forward(self, x_BD: Tensor) -> Tensor:
        return nn.functional.linear(x_BD, self.weight).softmax(dim=-1)


def mixed(gate_BE: Tensor, expert_EBH: Tensor) -> Tensor:
    """sum_e gate_e expert_e, `[B, H]`."""
    return torch.einsum("be,ebh->bh", gate_BE, expert_EBH)


def side_by_side(expert_EBH: Tensor) -> Tensor:
    """The experts' outputs of each row as one vector, `[B, E * H]`."""
    return expert_EBH.transpose(0, 1).flatten(1)
