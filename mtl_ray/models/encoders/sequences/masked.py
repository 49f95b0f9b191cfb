"""Over the entries that are present."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_of_present(entries_BLW: Tensor, present_BL: Tensor) -> Tensor:
    """Mean over the present positions `[B, W]`; zeros where there is none."""
    weight_BL = present_BL.to(entries_BLW.dtype)
    weight_BL = weight_BL / weight_BL.sum(dim=1, keepdim=True).clamp(min=1.0)
    return weighted_sum(weight_BL, entries_BLW)


def softmax_of_present(scores_BL: Tensor, present_BL: Tensor) -> Tensor:
    """Softmax over the present positions, 0 elsewhere; zeros, with zero gradients, where there is none."""
    least = torch.finfo(scores_BL.dtype).min
    return scores_BL.masked_fill(~present_BL, least).softmax(dim=1) * present_BL


def weighted_sum(weight_BL: Tensor, entries_BLW: Tensor) -> Tensor:
    """`[B, W]`."""
    return torch.bmm(weight_BL.to(entries_BLW.dtype).unsqueeze(1), entries_BLW).squeeze(1)


def zero_if_empty(x_BW: Tensor, present_BL: Tensor) -> Tensor:
    """Rows of `x` with a history, zeros for those without."""
    return x_BW * present_BL.any(dim=1, keepdim=True)
