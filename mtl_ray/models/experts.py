"""E equal MLPs, computed together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl_ray.models.initialisation import DEFAULT_INIT, Init, initialise_linear
from mtl_ray.models.mlp import ACTIVATIONS, Activation
from mtl_ray.models.norm import Norm, build_norm
from mtl_ray.models.precision import as_products_take_it


class Experts(nn.Module):
    """`[B, D_in]` to `[E, B, D_out]`: each expert is what `MLP` is, with weights of its own.

    The weights of a layer are stacked to `[E, in, out]`, so that E experts cost one matrix product a layer. On the CPU
    they go one after the other through all their layers: what one expert has in between then stays in the core's cache,
    and lies as bf16 products want it. Biases and norms are kept flat, `[E * out]`: a parameter of two or more
    dimensions is a weight matrix, everywhere in the models, and weight decay relies on it.
    """

    def __init__(
        self,
        num_experts: int,
        in_size: int,
        hidden: Sequence[int],
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        sizes = [in_size, *hidden]
        self.num_experts = num_experts
        self.out_size = sizes[-1]
        self.weights = nn.ParameterList(torch.empty(num_experts, a, b) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(torch.zeros(num_experts * size) for size in hidden if norm != "batch")
        norms = [build_norm(norm, num_experts, size) for size in hidden]
        self.norms = nn.ModuleList(norm for norm in norms if norm is not None)
        self._activation = ACTIVATIONS[activation]
        self._dropout = dropout
        self.initialise(DEFAULT_INIT)

    def initialise(self, init: Init) -> None:
        """Draw all weights, each expert's as those of an MLP."""
        for weight in self.weights:
            for expert in range(self.num_experts):
                initialise_linear(weight.detach()[expert].T, init)

    def forward(self, x_BD: Tensor) -> Tensor:
        """`[E, B, D_out]` from one input `[B, D_in]`, or from one for each expert, `[E, B, D_in]`."""
        if x_BD.device.type == "cpu" and not len(self.norms):
            return self._one_by_one(x_BD)
        for layer in range(len(self.weights)):
            x_BD = self.layer(layer, x_BD)
        return x_BD

    def _one_by_one(self, x: Tensor) -> Tensor:
        """As `forward`, which stacks them row by row: who mixes experts wants `[B, E, D_out]`."""
        layers = [
            (weight.unbind(), bias.view(self.num_experts, -1).unbind())
            for weight, bias in zip(self.weights, self.biases, strict=True)
        ]
        x = as_products_take_it(x)
        outputs = []
        for expert, h_BH in enumerate(x if x.ndim == 3 else (x,) * self.num_experts):
            for weights, biases in layers:
                h_BH = self._activated(torch.addmm(biases[expert], h_BH, weights[expert]))
            outputs.append(h_BH)
        return torch.stack(outputs, dim=1).transpose(0, 1)

    def layer(self, layer: int, x: Tensor) -> Tensor:
        """One layer alone: `[E, B, out]` from `[E, B, in]`, or from `[B, in]`, which all experts then read."""
        weight = self.weights[layer]
        # Of one input: one product with the experts' weights side by side.
        if not len(self.biases):
            h_EBH = torch.einsum("bi,eio->ebo", x, weight) if x.ndim == 2 else torch.bmm(x, weight)
            return self._finish(h_EBH, layer)
        bias = self.biases[layer].view(self.num_experts, 1, -1)
        if x.ndim == 2:
            return self._finish(torch.einsum("bi,eio->ebo", x, weight) + bias, layer)
        return self._finish(torch.baddbmm(bias, x, weight), layer)

    def _finish(self, h_EBH: Tensor, layer: int) -> Tensor:
        """Norm, activation and dropout."""
        if len(self.norms):
            h_EBH = self.norms[layer](h_EBH)
        return self._activated(h_EBH)

    def _activated(self, h: Tensor) -> Tensor:
        return F.dropout(self._activation(h), self._dropout, self.training)
