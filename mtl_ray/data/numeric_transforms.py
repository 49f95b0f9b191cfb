"""Numbers into inputs of comparable scale, with statistics of the training part alone.

The clipping rule: values are clipped to the [low, high] quantiles (linear interpolation) of the training part's
present values; a column whose two quantiles coincide although it varies (a rare non-zero count) is not clipped.
Then one of three transforms, and missing values become 0.

- standard: (x - mean) / std
- log_standard: y = sign(x) log(1 + |x|), then (y - mean) / std
- quantile: the value's rank among the training part's quantiles (at most 1000 knots, linear between them), from a
  uniform to a normal distribution. A tied value has the middle of its ranks; ranks are kept within half a knot of
  0 and 1, so that outputs stay within about +-3.3.

A column that does not vary becomes 0. std has divisor n. All arithmetic is float64, the result float32. Of a column
with more than a million distinct values the statistics are approximate: `distributions.NumberDistribution` says how.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import torch

from mtl_ray.data.distributions import NumberDistribution
from mtl_ray.errors import DataError
from mtl_ray.schema import Settings

NumericTransform = Literal["standard", "quantile", "log_standard"]

MAX_KNOTS = 1000

INPUT_RANKS = 65
"""Number of `NumericStatistics.input_quantiles`."""

_LARGEST = float(np.finfo(np.float32).max)


class NumericStatistics(Settings):
    """What the training part says about one numeric column; all of it in raw units except mean and std."""

    name: str
    transform: NumericTransform
    missing: int
    """Rows of the training part without a finite value."""
    indicator: bool
    """Whether `<name>__missing` is an input too."""
    low: float | None = None
    """Smaller values are clipped to this; None: no clipping from below."""
    high: float | None = None
    mean: float = 0.0
    """Of the clipped values; log_standard: of their signed logarithm."""
    std: float = 0.0
    """0 where the column does not vary."""
    knots: tuple[float, ...] | None = None
    """quantile: values at equally spaced ranks from 0 to 1, rising."""
    input_quantiles: tuple[float, ...] = ()
    """What `apply` makes of the present values of the training part at INPUT_RANKS equally spaced ranks from 0 to 1
    (each a value of the column), rising; of a column that does not vary (0.0,)."""

    def apply(self, values: np.ndarray) -> np.ndarray:
        """float64 `[n]` with NaN where missing -> float32 `[n]` without NaN."""
        if self.std == 0.0:
            return np.zeros(values.shape, dtype=np.float32)
        x = self._clip(values)
        if self.knots is not None:
            scaled = _normal_scores(x, np.array(self.knots))
        else:
            scaled = (_signed_log(x) if self.transform == "log_standard" else x) - self.mean
            scaled /= self.std
        scaled = np.clip(scaled, -_LARGEST, _LARGEST)
        return np.where(np.isnan(scaled), 0.0, scaled).astype(np.float32)

    def _clip(self, values: np.ndarray) -> np.ndarray:
        if self.low is None and self.high is None:
            return values
        return np.clip(values, self.low, self.high)


def fit_numeric(
    name: str,
    distribution: NumberDistribution,
    transform: NumericTransform,
    *,
    clip_quantiles: tuple[float, float] | None,
    missing_indicators: bool,
) -> NumericStatistics:
    """Statistics of the training part's `distribution`.

    Raises `DataError` where the values are too large for a mean and a standard deviation.
    """
    low, high = _clip_bounds(distribution, clip_quantiles)
    smallest, largest = (
        (distribution.minimum, distribution.maximum)
        if low is None or high is None
        else np.clip([distribution.minimum, distribution.maximum], low, high).tolist()
    )
    knots = None
    mean = std = 0.0
    if smallest < largest:
        mean, std = distribution.moments(_signed_log if transform == "log_standard" else None, low, high)
        if not np.isfinite(mean + std):
            raise DataError(
                f"The values of the numeric column {name!r} are too large for a mean.",
                where=f"column {name}",
                found=f"values from {smallest} to {largest}",
                fix="use clip_quantiles, or write NULL instead of a placeholder for missing values",
            )
        if transform == "quantile":
            ranks = np.linspace(0.0, 1.0, min(MAX_KNOTS, distribution.count))
            # Rounding can make a quantile smaller than the one before, and interpolation needs rising knots.
            knots = tuple(np.maximum.accumulate(distribution.quantiles(ranks, low, high)).tolist())
    statistics = NumericStatistics(
        name=name,
        transform=transform,
        missing=distribution.missing,
        indicator=missing_indicators and distribution.missing > 0,
        low=low,
        high=high,
        mean=mean,
        std=std,
        knots=knots,
    )
    return statistics.model_copy(update={"input_quantiles": _input_quantiles(statistics, distribution)})


def _input_quantiles(statistics: NumericStatistics, distribution: NumberDistribution) -> tuple[float, ...]:
    if statistics.std == 0.0:
        return (0.0,)
    # Every transform is monotone, so that the transformed values keep their ranks; but for rounding.
    inputs = statistics.apply(distribution.values_at(np.linspace(0.0, 1.0, INPUT_RANKS)))
    return tuple(np.maximum.accumulate(inputs).tolist())


def _clip_bounds(
    distribution: NumberDistribution, clip_quantiles: tuple[float, float] | None
) -> tuple[float, float] | tuple[None, None]:
    if clip_quantiles is None or not distribution.count:
        return None, None
    low, high = distribution.quantiles(clip_quantiles).tolist()
    return (None, None) if low == high else (low, high)


def numeric_values(values: pa.Array | pa.ChunkedArray, column: str) -> np.ndarray:
    """`values` as float64 `[n]`, NaN where null, NaN or infinite; truth values are 0 and 1.

    Raises `DataError` where the column is no number.
    """
    kind = values.type
    if pa.types.is_null(kind):
        return np.full(len(values), np.nan)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not number and not pa.types.is_boolean(kind):
        raise DataError(
            f"The numeric column {column!r} does not hold numbers.",
            where=f"column {column}",
            found=f"type {kind}",
            allowed="integers, floats, decimals or truth values",
            fix="use encoding categorical, or cast the column",
        )
    if pa.types.is_boolean(kind):
        values = values.cast(pa.uint8())
    # safe=False: an integer above 2^53 is rounded, as any number input is.
    array = np.asarray(values.cast(pa.float64(), safe=False), dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def _signed_log(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.log1p(np.abs(values))


def _normal_scores(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    ranks = np.linspace(0.0, 1.0, knots.size)
    # Interpolating from both sides and averaging gives a tied value the middle of its ranks (as scikit-learn's
    # QuantileTransformer does between the extremes).
    upper = np.interp(values, knots, ranks)
    lower = -np.interp(-values, -knots[::-1], -ranks[::-1])
    margin = 0.5 / knots.size
    rank = np.clip(0.5 * (upper + lower), margin, 1.0 - margin)
    scores: np.ndarray = torch.special.ndtri(torch.from_numpy(rank)).numpy()
    return scores
