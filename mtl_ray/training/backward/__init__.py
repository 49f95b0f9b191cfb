"""From a step's losses to gradients: in one pass, or with every task's looked at by itself."""

from __future__ import annotations

from mtl_ray.training.backward.backward import Backward, Compared, NonFiniteGradient
from mtl_ray.training.backward.choice import build_backward

__all__ = ["Backward", "Compared", "NonFiniteGradient", "build_backward"]
