"""Which errors of a worker would come again, so that the budget of restarts is not spent on them."""

from __future__ import annotations

import traceback

import torch

from mtl_ray.errors import MtlRayError

FAULTS: tuple[type[Exception], ...] = (
    MtlRayError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    TypeError,
    ValueError,
    torch.OutOfMemoryError,
)
"""Of our code or a user's. Not RuntimeError, OSError and Ray's own: that is what the ranks that are left raise when
another one, its node or the object store is lost."""


def told_of(error: Exception) -> str:
    """The error for the driver: our own as it is, any other with where it came from."""
    if isinstance(error, MtlRayError):
        return str(error)
    return "".join(traceback.format_exception(error)).strip()
