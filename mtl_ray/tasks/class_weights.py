"""Class weights as a config gives them."""

from __future__ import annotations

import math
from typing import Any


def checked_weight(value: Any) -> float:
    """`value` as a weight. Raises `ValueError` unless it is a finite number > 0 (0 would leave a class unlearnt)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < math.inf:
        raise ValueError(f"a class weight must be a finite number > 0, or all of them balanced, found {value!r}")
    return float(value)
