"""How far a metric would move on another sample of the same kind: bootstrap percentile intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mtl_ray.metrics.metric import Array, FloatArray, Metric, Rows, Units

_BLOCK_CELLS = 1 << 22
_DEFINED = 0.9


class Interval(NamedTuple):
    """Ends of an interval."""

    low: float
    high: float


def bootstrap_intervals(
    metric: Metric,
    prediction: Array,
    label: Array,
    weight: Array | None = None,
    group: Array | None = None,
    *,
    replicates: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval | None]:
    """Percentile interval of every value of `metric` over these rows; arguments as in `Metric.update`.

    With `group` whole groups are drawn with replacement, so that the rows of one user stay together and the
    dependence between them widens the interval as it should; without it single rows are drawn. `metric` says only
    which values (its own state is not read). The same seed gives the same intervals.

    An interval is None where it would mean nothing: no replicates asked for, fewer than 2 groups (rows), or more
    than a tenth of the replicates do not define the value (few positives). It always contains the value itself: the
    bootstrap inflates a metric that is biased upwards in small samples (ece), and the percentiles alone can then
    lie above it.

    Sources: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile interval); Field &
    Welsh 2007, Bootstrapping clustered data, J. R. Statist. Soc. B 69, 369-390 (cluster bootstrap).
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence lies between 0 and 1, got {confidence}")
    if replicates < 0:
        raise ValueError(f"replicates is at least 0, got {replicates}")
    rows = Rows.checked(prediction, label, weight, group)
    units = _units(rows)
    if replicates == 0 or units.total < 2:
        return dict.fromkeys(metric.compute())
    resample = metric.resampler(rows, units)
    blocks = [resample(counts) for counts in _draws(units.total, replicates, seed)]
    whole = resample(np.ones((1, units.total)))
    return {
        name: _interval(np.concatenate([block[name] for block in blocks]), float(value[0]), confidence)
        for name, value in whole.items()
    }


def _units(rows: Rows) -> Units:
    if rows.group is None:
        return Units(np.arange(len(rows)), len(rows))
    keys, of_row = np.unique(rows.group, return_inverse=True)
    return Units(of_row, len(keys))


def _draws(units: int, replicates: int, seed: int) -> Iterator[FloatArray]:
    """How often each unit was drawn, in blocks `[K, units]` of bounded size, `replicates` lines in all."""
    generator = np.random.default_rng(seed)
    size = max(1, _BLOCK_CELLS // units)
    for start in range(0, replicates, size):
        lines = min(size, replicates - start)
        counts = np.empty((lines, units))
        for line in range(lines):
            counts[line] = np.bincount(generator.integers(units, size=units), minlength=units)
        yield counts


def _interval(replicates: FloatArray, value: float, confidence: float) -> Interval | None:
    defined = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or len(defined) < _DEFINED * len(replicates):
        return None
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return Interval(min(float(low), value), max(float(high), value))
