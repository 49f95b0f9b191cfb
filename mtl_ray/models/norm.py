"""Normalisation before an activation, of one MLP's layer or of several experts' side by side."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl_ray import distributed
from mtl_ray.tasks.task import at_least_float32

Norm = Literal["none", "layer", "batch"]

EPS = 1e-5
MOMENTUM = 0.1
"""What one training batch adds to the running statistics; this and EPS are torch's defaults."""


def build_norm(norm: Norm, num_experts: int, size: int) -> nn.Module | None:
    """The norm of `[E, B, H]`, or of `[B, H]` where `num_experts` is 1."""
    if norm == "batch":
        return BatchNorm(num_experts, size)
    return LayerNorm(num_experts, size) if norm == "layer" else None


class LayerNorm(nn.Module):
    """Ba, Kiros and Hinton (2016), over the units of each row, `[..., B, H]`; scales and shifts are flat, `[E * H]`."""

    def __init__(self, num_experts: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_experts * size))
        self.bias = nn.Parameter(torch.zeros(num_experts * size))
        self._size = size

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return F.layer_norm(x, (self._size,), self.weight, self.bias, EPS)
        normal = F.layer_norm(x, (self._size,), eps=EPS)
        return normal * self.weight.view(-1, 1, self._size) + self.bias.view(-1, 1, self._size)


class BatchNorm(nn.Module):
    """Ioffe and Szegedy (ICML 2015), algorithm 1, over the rows of the *global* batch: `[..., B, H]`, each unit by its
    mean and variance over the ranks' rows together.

    As torch's, but for the experts' dimension and the ranks (torch's SyncBatchNorm has no CPU form). In training mode
    every forward is a collective, twice, and so is its backward; ranks may have different numbers of rows. All rows
    count, the padding of an epoch's last batch included: it is the same whatever the number of ranks. The running
    statistics, which evaluation mode uses, come out equal on all ranks.
    """

    running_mean: Tensor
    running_var: Tensor
    """`[E * H]`; the variance with divisor n - 1."""

    def __init__(self, num_experts: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_experts * size))
        self.bias = nn.Parameter(torch.zeros(num_experts * size))
        self.register_buffer("running_mean", torch.zeros(num_experts * size))
        self.register_buffer("running_var", torch.ones(num_experts * size))
        self._size = size

    def forward(self, x: Tensor) -> Tensor:
        x = at_least_float32(x)
        if self.training:
            mean, variance = self._over_all_ranks(x)
        else:
            mean, variance = self._per_unit(self.running_mean, x), self._per_unit(self.running_var, x)
        scale = self._per_unit(self.weight, x) * torch.rsqrt(variance + EPS)
        return (x - mean) * scale + self._per_unit(self.bias, x)

    def _over_all_ranks(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Squares of what is left of the mean, not the mean of squares: the difference of two large numbers is noise.
        rows = x.new_full((1,), x.shape[-2])
        total = distributed.differentiable_sum(torch.cat([x.sum(dim=-2).flatten(), rows]))
        rows = total[-1].detach()
        mean = total[:-1] / rows
        squares = (x - self._per_unit(mean, x)).square().sum(dim=-2).flatten()
        variance = distributed.differentiable_sum(squares) / rows
        with torch.no_grad():
            self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), MOMENTUM)
            unbiased = variance.detach() * rows / (rows - 1).clamp(min=1)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), MOMENTUM)
        return self._per_unit(mean, x), self._per_unit(variance, x)

    def _per_unit(self, flat: Tensor, x: Tensor) -> Tensor:
        """`[E * H]` to go with `x`."""
        return flat if x.ndim == 2 else flat.view(-1, 1, self._size)
