"""Population stability index: how far a feature's distribution moved between two parts.

With shares `e_i` of the training part and `a_i` of the other one in the bins i,

    PSI = sum_i (a_i - e_i) ln(a_i / e_i)

(Siddiqi, Credit Risk Scorecards, 2006; it is the symmetric Kullback-Leibler divergence). Usual reading: below 0.1 no
change, above 0.25 a large one. So that an empty bin counts without being infinite, shares are raised to that of half a
row, and to at least FLOOR.

Bins of numbers: the deciles of the training part (linear interpolation), open at both ends, each closed above, equal
ones once; where the lowest one is the minimum itself, what lies below it has a bin of its own. Bins of categories: the
TOP most frequent values of the training part (of equally frequent ones the smaller first; only those that let expect
at least FEWEST rows in the smaller part), and all others together.
Both have one more bin for missing values. A list counts its values, by the share of the rows that have any.

Two samples of one distribution differ too: then PSI / (1/n + 1/m), n and m the rows of the parts, is about
chi-squared distributed with (bins - 1) degrees of freedom (Yurdakul and Naranjo, Statistical properties of the
population stability index, 2020). `by_chance` is its 99 % quantile; a PSI below it is no drift whatever its size. Of
many equally frequent values (ids) those that chance made the top of the training part fall back in the other one:
`by_chance` is then passed more often, but at sizes of the parts where the PSI is far below 0.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.distributions import CategoryCounts, NumberDistribution

FLOOR = 1e-4
TOP = 20
FEWEST = 20

_DECILES = np.arange(1, 10) / 10
_NORMAL_99 = 2.3263478740408408
"""99 % quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Psi:
    """The index of one feature."""

    value: float
    by_chance: float
    """The size that two samples of one distribution exceed once in a hundred times."""


def psi(expected: np.ndarray, actual: np.ndarray, rows: int, other_rows: int) -> float:
    """The index of shares `expected` (of `rows`) and `actual` (of `other_rows`), float64 `[bins]`."""
    e = np.maximum(expected, max(FLOOR, 0.5 / rows))
    a = np.maximum(actual, max(FLOOR, 0.5 / other_rows))
    return math.fsum(((a - e) * np.log(a / e)).tolist())


def number_psi(train: NumberDistribution, other: NumberDistribution) -> Psi | None:
    """The index of a numeric feature; None where a part has no rows."""
    rows, other_rows = train.count + train.missing, other.count + other.missing
    if not rows or not other_rows:
        return None
    edges = _edges(train)
    return _index(_number_shares(train, edges), _number_shares(other, edges), rows, other_rows)


def category_psi(
    train: CategoryCounts, other: CategoryCounts, missing: tuple[int, int], rows: tuple[int, int]
) -> Psi | None:
    """The index of a categorical or list feature; `missing` and `rows` of the two parts count rows, not values.

    None where a part has no rows, or where one part holds text and the other integers.
    """
    if not all(rows) or len({part.kind for part in (train, other) if not pa.types.is_null(part.kind)}) > 1:
        return None
    top = _top(train, FEWEST / min(rows))
    expected = _category_shares(train, top, missing[0] / rows[0])
    return _index(expected, _category_shares(other, top, missing[1] / rows[1]), *rows)


def _edges(train: NumberDistribution) -> np.ndarray:
    """Upper ends of all bins but the last one, float64 rising."""
    if not train.count:
        return np.empty(0)
    edges = np.unique(train.quantiles(_DECILES))
    if edges[0] == train.minimum:
        edges = np.concatenate([[np.nextafter(edges[0], -np.inf)], edges])
    return edges


def _number_shares(part: NumberDistribution, edges: np.ndarray) -> np.ndarray:
    """Shares of the rows in each bin, the missing ones last, float64 `[len(edges) + 2]`."""
    missing = part.missing / (part.count + part.missing)
    if not part.count:
        return np.append(np.zeros(edges.size + 1), missing)
    at_most = np.concatenate([[0.0], part.share_at_most(edges), [1.0]])
    return np.append(np.diff(at_most) * (1.0 - missing), missing)


def _top(train: CategoryCounts, smallest: float) -> pa.Array:
    """The values with bins of their own, each with a share of at least `smallest`."""
    counts = train.table["count"].to_numpy()
    order = np.argsort(-counts, kind="stable")[:TOP]  # the table rises by value
    order = order[counts[order] >= smallest * train.total]
    return train.table["value"].take(pa.array(order)).combine_chunks()


def _category_shares(part: CategoryCounts, top: pa.Array, missing: float) -> np.ndarray:
    """Shares of `top`, of all others and of missing rows, float64 `[len(top) + 2]`."""
    if not part.total:
        return np.append(np.zeros(len(top) + 1), missing)
    if pa.types.is_null(top.type):
        counted = np.zeros(0)
    else:
        place = pc.index_in(top, value_set=part.table["value"].combine_chunks())
        found = part.table["count"].take(place)
        counted = pc.fill_null(found, 0).to_numpy().astype(np.float64)
    shares = np.append(counted, part.total - counted.sum()) / part.total
    return np.append(shares * (1.0 - missing), missing)


def _index(expected: np.ndarray, actual: np.ndarray, rows: int, other_rows: int) -> Psi:
    by_chance = _chi_squared_99(expected.size - 1) * (1.0 / rows + 1.0 / other_rows)
    return Psi(psi(expected, actual, rows, other_rows), by_chance)


def _chi_squared_99(degrees: int) -> float:
    """99 % quantile of the chi-squared distribution, within 1 % (Wilson and Hilferty, 1931)."""
    part = 2.0 / (9.0 * degrees)
    return degrees * (1.0 - part + _NORMAL_99 * math.sqrt(part)) ** 3
