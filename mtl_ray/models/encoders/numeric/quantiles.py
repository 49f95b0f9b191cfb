"""Edges of buckets and bins from a column's quantiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def values_at_ranks(quantiles: Sequence[float], parts: int) -> list[float]:
    """The values at the ranks 0, 1 / parts, ..., 1, rising, as float32 numbers; between quantiles linear."""
    known = np.linspace(0.0, 1.0, len(quantiles))
    values = np.interp(np.linspace(0.0, 1.0, parts + 1), known, np.asarray(quantiles, dtype=np.float64))
    return [float(value) for value in values.astype(np.float32)]


def inner_edges(quantiles: Sequence[float], buckets: int) -> list[float]:
    """Distinct edges between `buckets` buckets of about equally many rows; a value on an edge belongs above it.

    Values that many rows share leave fewer: an edge at the least value would have no training row below it.
    """
    least, *inner, _ = values_at_ranks(quantiles, buckets)
    return sorted({edge for edge in inner if edge > least})


def bin_edges(quantiles: Sequence[float], bins: int) -> list[float]:
    """Distinct edges of at most `bins` bins, both ends included; a column of one value v has one bin, v to v + 1."""
    edges = sorted(set(values_at_ranks(quantiles, bins)))
    return edges if len(edges) > 1 else [edges[0], edges[0] + 1.0]
