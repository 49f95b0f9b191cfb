"""Autocast, where a model takes it into its own hands."""

from __future__ import annotations

import torch
from torch import Tensor


def as_products_take_it(x: Tensor) -> Tensor:
    """`x` in the dtype that autocast's matrix products compute in; as it is without autocast.

    What several products read is converted once this way, and so is its gradient; autocast converts it, and the
    gradient, once for each.
    """
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x
