"""Sums of float32 that no order of the summands changes."""

from __future__ import annotations

import numpy as np

_BITS = 24
"""Of a float32's mantissa."""
_LOWEST = -149 - _BITS + 1
"""The smallest positive float32 is 2 ** -149, a mantissa of 2 ** 23 of this unit."""


def exact_sums(values: np.ndarray, groups: np.ndarray, size: int) -> list[int]:
    """The sum of `values` (float32 `[n]`, finite) in each group (int `[n]`, 0 to size - 1), in units of `from_exact`.

    Exact below 2 ** 39 values.
    """
    mantissas, exponents = np.frexp(values.astype(np.float64))
    whole = (mantissas * 2.0**_BITS).astype(np.int64)
    totals = [0] * size
    for exponent in np.unique(exponents):
        of_size = exponents == exponent
        sums = np.zeros(size, dtype=np.int64)
        np.add.at(sums, groups[of_size], whole[of_size])
        for group in np.flatnonzero(sums).tolist():
            totals[group] += int(sums[group]) << int(exponent - _BITS - _LOWEST)
    return totals


def from_exact(total: int, count: int) -> float:
    """`total` of `exact_sums` divided by `count`, rounded once."""
    return total / (count << -_LOWEST)
