"""Fully connected layers, as every tower, bottom and expert has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl_ray.models.initialisation import DEFAULT_INIT, Init, initialise_linear
from mtl_ray.models.norm import Norm, build_norm

Activation = Literal["relu", "gelu", "silu"]

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"relu": torch.relu_, "gelu": F.gelu, "silu": F.silu}
"""relu in place, of a product that nothing else reads: what it writes is in the cache."""


class MLP(nn.Module):
    """Per hidden size: linear, norm if asked for, activation, dropout. `[B, D_in]` to `[B, D_out]`.

    Without hidden sizes it is the identity. Weights start as `initialise` draws them, biases at 0; before a batch
    norm, which would take it off again, a layer has no bias.
    """

    def __init__(
        self,
        in_size: int,
        hidden: Sequence[int],
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        sizes = [in_size, *hidden]
        self.linears = nn.ModuleList(nn.Linear(a, b, bias=norm != "batch") for a, b in pairwise(sizes))
        norms = [build_norm(norm, 1, size) for size in hidden]
        self.norms = nn.ModuleList(norm for norm in norms if norm is not None) if norm != "none" else None
        self.out_size = sizes[-1]
        self._activation = ACTIVATIONS[activation]
        self._dropout = dropout
        for linear in self.linears:
            if norm != "batch":
                nn.init.zeros_(cast("nn.Linear", linear).bias)
        self.initialise(DEFAULT_INIT)

    def initialise(self, init: Init) -> None:
        """Draw all weights."""
        for linear in self.linears:
            initialise_linear(cast("nn.Linear", linear).weight, init)

    def forward(self, x_BD: Tensor) -> Tensor:
        for layer, linear in enumerate(self.linears):
            x_BD = linear(x_BD)
            if self.norms is not None:
                x_BD = self.norms[layer](x_BD)
            x_BD = F.dropout(self._activation(x_BD), self._dropout, self.training)
        return x_BD
