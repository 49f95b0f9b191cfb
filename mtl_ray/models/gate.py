"""Softmax gates over experts: how much a task listens to each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Gating:
    """How all gates of a structure turn scores into weights."""

    temperature: float = 1.0
    expert_dropout: float = 0.0

    def weights(self, score: Tensor) -> Tensor:
        """softmax(score / temperature) over the last dimension, the experts."""
        return self._scaled(score).softmax(dim=-1)

    def thinned(self, score: Tensor) -> Tensor:
        """As `weights` while training: each expert is left out with probability `expert_dropout`, in each row and by
        each gate for itself, and those that stay sum to 1. Where all would be left out, one drawn at random stays.

        Drawn anew in every step and, as dropout is, by every rank for itself.
        """
        if self.expert_dropout == 0.0:
            return self.weights(score)
        drawn = torch.rand(score.shape, device=score.device)
        kept = (drawn >= self.expert_dropout) | (drawn == drawn.amax(dim=-1, keepdim=True))
        return self._scaled(score).masked_fill(~kept, -torch.inf).softmax(dim=-1)

    def _scaled(self, score: Tensor) -> Tensor:
        return score if self.temperature == 1.0 else score / self.temperature


class Mixed(NamedTuple):
    """What a gate gives."""

    output: Tensor
    """sum_e gate_e expert_e, `[B, H]`."""
    gate: Tensor
    """softmax(W x / temperature), `[B, E]`, as it is without expert dropout."""


class Gate(nn.Module):
    """Mixes experts by softmax(W x / temperature). W `[E, D]` starts at 0: the mean of the experts."""

    def __init__(self, num_experts: int, in_size: int, gating: Gating) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_experts, in_size))
        self._gating = gating

    def forward(self, x_BD: Tensor, expert_EBH: Tensor) -> Mixed:
        score_BE = nn.functional.linear(x_BD, self.weight)
        gate_BE = self._gating.weights(score_BE)
        used_BE = self._gating.thinned(score_BE) if self.training and self._gating.expert_dropout else gate_BE
        return Mixed(mixed(used_BE, expert_EBH), gate_BE)


def mixed(gate_BE: Tensor, expert_EBH: Tensor) -> Tensor:
    """sum_e gate_e expert_e, `[B, H]`."""
    return torch.einsum("be,ebh->bh", gate_BE, expert_EBH)


def side_by_side(expert_EBH: Tensor) -> Tensor:
    """The experts' outputs of each row as one vector, `[B, E * H]`."""
    return expert_EBH.transpose(0, 1).flatten(1)
