"""Inner products without their unit."""

from __future__ import annotations

import torch
from torch import Tensor


def scaled(gramian_TT: Tensor) -> Tensor:
    """The Gramian times the number that brings its mean diagonal to 1; zeros stay zeros.

    Methods that do not depend on the gradients' common length may still compare it with constants of their own, and
    that of a gradient at the representation falls with the number of rows.
    """
    mean = gramian_TT.diagonal().mean()
    return gramian_TT / mean.clamp(min=torch.finfo(gramian_TT.dtype).tiny)
