"""E equal MLPs, computed together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl_ray.models.mlp import ACTIVATIONS, Activation, initialise_linear


class Experts(nn.Module):
    """`[B, D_in]` to `[E, B, D_out]`: each expert is what `MLP` is, with weights of its own.

    The weights of a layer are stacked to `[E, in, out]`, so that E experts cost one matrix product a layer. Biases
    and layer norms are kept flat, `[E * out]`: a parameter of two or more dimensions is a weight matrix, everywhere
    in the models, and weight decay relies on it.
    """

    def __init__(
        self,
        num_experts: int,
        in_size: int,
        hidden: Sequence[int],
        activation: Activation = "relu",
        dropout: float = 0.0,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        sizes = [in_size, *hidden]
        self.num_experts = num_experts
        self.out_size = sizes[-1]
        self.weights = nn.ParameterList(torch.empty(num_experts, a, b) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(torch.zeros(num_experts * size) for size in hidden)
        self.norm_scales = nn.ParameterList(torch.ones(num_experts * size) for size in hidden if layer_norm)
        self.norm_shifts = nn.ParameterList(torch.zeros(num_experts * size) for size in hidden if layer_norm)
        self._activation = ACTIVATIONS[activation]
        self._dropout = dropout
        self._layer_norm = layer_norm
        for weight in self.weights:
            for expert in range(num_experts):
                initialise_linear(weight.detach()[expert].T)

    def forward(self, x_BD: Tensor) -> Tensor:
        """`[E, B, D_out]` from one input `[B, D_in]`, or from one for each expert, `[E, B, D_in]`."""
        for layer in range(len(self.weights)):
            x_BD = self.layer(layer, x_BD)
        return x_BD

    def layer(self, layer: int, x: Tensor) -> Tensor:
        """One layer alone: `[E, B, out]` from `[E, B, in]`, or from `[B, in]`, which all experts then read."""
        weight, bias = self.weights[layer], self._per_expert(self.biases[layer])
        if x.ndim == 2:
            # One product with the experts' weights side by side.
            return self._finish(torch.einsum("bi,eio->ebo", x, weight) + bias, layer)
        return self._finish(torch.baddbmm(bias, x, weight), layer)

    def _finish(self, h_EBH: Tensor, layer: int) -> Tensor:
        """Layer norm, activation and dropout."""
        if self._layer_norm:
            h_EBH = F.layer_norm(h_EBH, h_EBH.shape[-1:])
            h_EBH = h_EBH * self._per_expert(self.norm_scales[layer]) + self._per_expert(self.norm_shifts[layer])
        return F.dropout(self._activation(h_EBH), self._dropout, self.training)

    def _per_expert(self, flat: Tensor) -> Tensor:
        """`[E * H]` as `[E, 1, H]`."""
        return flat.view(self.num_experts, 1, -1)
