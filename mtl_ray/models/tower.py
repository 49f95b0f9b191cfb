"""A task's own part: an MLP and the head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtl_ray.models.mlp import MLP, Activation
from mtl_ray.models.norm import Norm


class Tower(nn.Module):
    """`[B, H]` to the task's logits `[B, C_t]`.

    The head starts at `bias` `[C_t]` with weights of standard deviation 0.01, so that the untrained model predicts
    about the training part's mean and the first steps are not spent on finding it.
    """

    def __init__(
        self,
        in_size: int,
        hidden: Sequence[int],
        bias: Tensor,
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        self.mlp = MLP(in_size, hidden, activation, dropout, norm)
        self.head = nn.Linear(self.mlp.out_size, bias.numel())
        nn.init.normal_(self.head.weight, std=0.01)
        with torch.no_grad():
            self.head.bias.copy_(bias)

    def forward(self, x_BH: Tensor) -> Tensor:
        logits: Tensor = self.head(self.mlp(x_BH))
        return logits
