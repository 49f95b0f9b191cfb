"""The length of a gradient, and its limit."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], most: float) -> Tensor:
    """As `nn.utils.clip_grad_norm_`, for sparse gradients too, which have to be coalesced: scale all gradients so that
    their common length is at most `most`. Returns what they were multiplied by, which stays on the device."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    values = [gradient._values() if gradient.is_sparse else gradient for gradient in gradients]
    total = nn.utils.get_total_norm(values)
    factor = torch.clamp(most / (total + 1e-6), max=1.0)
    torch._foreach_mul_(values, factor)
    return factor
