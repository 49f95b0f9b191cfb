"""Forward passes that leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def buffers_put_back(model: nn.Module) -> Iterator[None]:
    """Afterwards the model's buffers, a batch norm's running statistics among them, are what they were before."""
    buffers = list(model.buffers())
    values = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, values, strict=True):
                buffer.copy_(value)
