"""Mergeable counts of columns against numpy, exact fractions and `collections.Counter`."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_ray.data import distributions
from mtl_ray.data.distributions import CategoryCounts, NumberDistribution
from mtl_ray.errors import DataError

NUMBERS = st.one_of(
    st.integers(-4, 4).map(float),
    st.floats(-1e100, 1e100),
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 0.1, 1.0 + 2**-52]),
)
PROBABILITIES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8)


def column(data: st.DataObject) -> np.ndarray:
    return np.array(data.draw(st.lists(NUMBERS, max_size=60)), dtype=np.float64)


def parts_of(data: st.DataObject, values: np.ndarray) -> list[np.ndarray]:
    """`values` in another order, cut anywhere; some parts may be empty."""
    shuffled = values[data.draw(st.permutations(range(values.size)))] if values.size else values
    cuts = sorted(data.draw(st.lists(st.integers(0, values.size), max_size=5)))
    return np.split(shuffled, cuts)


def same(one: NumberDistribution | CategoryCounts, other: NumberDistribution | CategoryCounts) -> bool:
    a, b = one.to_arrow().combine_chunks(), other.to_arrow().combine_chunks()
    return bool(a.equals(b, check_metadata=True))


# numbers, exact


@settings(deadline=None)
@given(st.data())
def test_exact_quantiles_and_shares_equal_numpys(data: st.DataObject) -> None:
    values = column(data)
    present = values[np.isfinite(values)]
    found = NumberDistribution.merged(NumberDistribution.of(part) for part in parts_of(data, values))
    assert found.exact
    assert found.rank_error == 0.0
    assert (found.count, found.missing) == (present.size, values.size - present.size)
    q = data.draw(PROBABILITIES)
    x = [*data.draw(st.lists(st.floats(-1e100, 1e100), max_size=5)), *present[:5].tolist()]
    if not present.size:
        assert math.isnan(found.minimum)
        assert np.isnan([*found.quantiles(q), *found.share_at_most([1.0]), *found.moments()]).all()
        return
    assert (found.minimum, found.maximum) == (present.min(), present.max())
    np.testing.assert_array_equal(found.quantiles(q), np.quantile(present, q))
    low, high = np.quantile(present, [0.2, 0.7]).tolist()
    np.testing.assert_array_equal(found.quantiles(q, low, high), np.quantile(np.clip(present, low, high), q))
    np.testing.assert_array_equal(found.share_at_most(x), [np.mean(present <= bound) for bound in x])


@settings(deadline=None)
@given(st.lists(st.integers(-1000, 1000).map(lambda n: n / 7.0), min_size=1, max_size=40))
def test_moments_equal_those_in_fractions(values: list[float]) -> None:
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    std = math.sqrt(sum((value - mean) ** 2 for value in exact) / len(exact))
    found = NumberDistribution.of(np.array(values)).moments()
    # Opposite values cancel: the error is relative to the values, not to their mean.
    assert found[0] == pytest.approx(float(mean), rel=1e-15, abs=1e-15 * max(map(abs, values)))
    assert found[1] == pytest.approx(std, rel=1e-12)


@settings(deadline=None)
@given(st.floats(-1e100, 1e100), st.integers(1, 2000))
def test_one_value_has_itself_as_mean_and_no_deviation(value: float, rows: int) -> None:
    assert NumberDistribution.of(np.full(rows, value)).moments() == (value, 0.0)


def test_moments_of_transformed_and_clipped_values() -> None:
    x = np.random.default_rng(0).normal(size=1001).round(2)
    y = np.exp(np.clip(x, -1.0, 0.5))
    np.testing.assert_allclose(NumberDistribution.of(x).moments(np.exp, -1.0, 0.5), (y.mean(), y.std()), rtol=1e-13)


def test_numbers_too_large_for_a_sum_are_infinite_not_an_exception() -> None:
    huge = NumberDistribution.of(np.array([1.7e308, 1.6e308, -1.0]))
    assert huge.moments()[0] == math.inf
    assert not math.isfinite(NumberDistribution.of(np.array([1e200, -1e200])).moments()[1])
    np.testing.assert_allclose(
        NumberDistribution.of(np.array([-1.7e308, 1.7e308])).quantiles([0.25, 1.0]), [-8.5e307, 1.7e308]
    )


def test_zeros_of_both_signs_are_one_value() -> None:
    found = NumberDistribution.merged([NumberDistribution.of(np.array([-0.0])), NumberDistribution.of(np.array([0.0]))])
    assert found.counts.tolist() == [2]
    assert not np.signbit(found.low[0])


def test_nothing_merges_to_nothing() -> None:
    assert NumberDistribution.merged([]).count == 0
    assert CategoryCounts.merged([]).total == 0


# numbers, compressed


@settings(deadline=None)
@given(st.data(), st.integers(2, 20))
def test_the_result_does_not_depend_on_the_parts(data: st.DataObject, limit: int) -> None:
    values = column(data)
    whole = NumberDistribution.of(values, limit)
    merged = NumberDistribution.merged(NumberDistribution.of(part, limit) for part in parts_of(data, values))
    assert same(whole, merged)
    assert whole.exact == (np.unique(values[np.isfinite(values)]).size <= limit)


def test_a_part_that_is_exact_is_coarsened_to_the_others_level() -> None:
    neighbours = 1.0 + np.arange(33) * 2.0**-52
    parts = [NumberDistribution.of(neighbours, 32), NumberDistribution.of(np.array([5.0, 1.0 + 2.0**-52]), 32)]
    assert [part.level for part in parts] == [1, 0]
    whole = NumberDistribution.of(np.concatenate([neighbours, [5.0, 1.0 + 2.0**-52]]), 32)
    assert (whole.level, whole.low.size, whole.counts[0]) == (1, 18, 3)
    assert same(NumberDistribution.merged(parts), whole)
    assert same(NumberDistribution.merged(parts[::-1]), whole)


def test_values_lie_evenly_in_their_cell() -> None:
    values = np.random.default_rng(0).random(100_000)
    found = NumberDistribution.of(values, limit=64)
    x = np.linspace(0.1, 0.9, 1000)
    true = np.searchsorted(np.sort(values), x, side="right") / values.size
    assert found.rank_error > 1e-2
    np.testing.assert_allclose(found.share_at_most(x), true, atol=2e-3)
    np.testing.assert_allclose(found.quantiles(x), np.quantile(values, x), atol=2e-3)


@settings(deadline=None)
@given(st.data(), st.integers(2, 20))
def test_a_compressed_distribution_keeps_its_promises(data: st.DataObject, limit: int) -> None:
    values = column(data)
    present = np.sort(values[np.isfinite(values)])
    found = NumberDistribution.of(values, limit)
    assert found.low.size <= limit
    assert (found.count, found.missing) == (present.size, values.size - present.size)
    if not present.size:
        return
    assert (found.minimum, found.maximum) == (present[0], present[-1])
    ranks = np.arange(present.size)
    cell = np.searchsorted(found.low, present, side="right") - 1
    in_order = found._in_order(ranks)
    # Whatever the level, a rank's value lies in the cell of the true one.
    assert (in_order >= found.low[cell]).all()
    assert (in_order <= found.high[cell]).all()
    normal = np.abs(present) >= np.finfo(np.float64).tiny
    if found.level <= 52:
        off = np.abs(in_order - present)[normal]
        assert (off <= 2.0 ** (found.level - 52) * np.abs(present[normal])).all()
    for x in [*present.tolist(), *data.draw(st.lists(st.floats(-1e100, 1e100), max_size=5))]:
        error = abs(found.share_at_most(x) - np.mean(present <= x))
        assert error == 0.0 if found.exact else error < found.rank_error or error == 0.0


@pytest.mark.parametrize("spread", ["normal", "lognormal", "uniform", "seconds", "two crowds"])
def test_heavy_columns_stay_within_the_bounds(spread: str) -> None:
    rng = np.random.default_rng(0)
    rows = 200_000
    values = {
        "normal": rng.normal(size=rows),
        "lognormal": rng.lognormal(0.0, 3.0, rows),
        "uniform": rng.random(rows),
        "seconds": 1.7e9 + rng.random(rows) * 86400.0,
        "two crowds": np.where(rng.random(rows) < 0.5, 1e9 + rng.random(rows), rng.lognormal(0.0, 3.0, rows)),
    }[spread]
    limit = 10_000
    found = NumberDistribution.merged(NumberDistribution.of(part, limit) for part in np.split(values, 16))
    assert not found.exact
    assert limit / 2 - 2 < found.low.size <= limit
    q = np.linspace(0.0, 1.0, 1000)
    true = np.sort(values)[np.round(q * (rows - 1)).astype(int)]
    near = found.quantiles(np.round(q * (rows - 1)) / (rows - 1))
    np.testing.assert_allclose(near, true, rtol=2.0 ** (found.level - 52) + 1e-9)
    assert np.abs(found.share_at_most(true) - np.searchsorted(np.sort(values), true, side="right") / rows).max() < (
        found.rank_error
    )
    if spread != "two crowds":
        assert found.rank_error < 1e-3
    mean, std = found.moments()
    assert mean == pytest.approx(values.mean(), rel=1e-3, abs=1e-3 * values.std())
    assert std == pytest.approx(values.std(), rel=1e-2)


def test_the_level_is_bounded_whatever_the_bits() -> None:
    bits = np.random.default_rng(0).integers(0, 2**64, 50_000, dtype=np.uint64)
    found = NumberDistribution.of(bits.view(np.float64), limit=4096)
    # 2 ** (64 - level) cells is all there is.
    assert 0 < found.level <= 64 - 12


def test_other_limits_and_parquet(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 2, found 1"):
        NumberDistribution.of(np.zeros(3), limit=1)
    values = np.append(np.random.default_rng(0).normal(size=500), np.nan)
    for limit in (40, 1000):
        found = NumberDistribution.of(values, limit)
        pq.write_table(found.to_arrow(), tmp_path / "counts.parquet")
        read = NumberDistribution.from_arrow(pq.read_table(tmp_path / "counts.parquet"))
        assert same(read, found)
        assert (read.missing, read.limit, read.exact) == (1, limit, limit == 1000)
    both = NumberDistribution.merged([NumberDistribution.of(values, 1000), NumberDistribution.of(values, 40)])
    assert same(both, NumberDistribution.of(np.append(values, values), 40))


# categories


@settings(deadline=None)
@given(st.data(), st.sampled_from([pa.int64(), pa.large_string()]))
def test_categories_equal_a_counter(data: st.DataObject, kind: pa.DataType) -> None:
    value = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3) if kind == pa.int64() else st.text(max_size=2)
    values = data.draw(st.lists(st.none() | value, max_size=40))
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4))), len(values)]
    parts = [CategoryCounts.of(pa.array(values[a:b], kind)) for a, b in pairwise(cuts)]
    found = CategoryCounts.merged(data.draw(st.permutations(parts)))
    known = Counter(value for value in values if value is not None)
    expected = sorted(known.items(), key=lambda item: item[0].encode() if isinstance(item[0], str) else item[0])
    assert list(zip(*found.table.to_pydict().values(), strict=True)) == expected
    assert (found.total, found.missing) == (known.total(), len(values) - known.total())
    assert found.kind == (kind if values else pa.null())
    assert same(found, CategoryCounts.of(pa.array(values, kind)))


def test_many_parts_of_categories_are_counted_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributions, "_CATEGORIES_AT_ONCE", 10)
    values = np.random.default_rng(0).integers(0, 100, 3000)
    found = CategoryCounts.merged(CategoryCounts.of(pa.array(part)) for part in np.split(values, 60))
    assert same(found, CategoryCounts.of(pa.array(values)))


def test_text_and_integers_do_not_merge() -> None:
    parts = [CategoryCounts.of(pa.array([1])), CategoryCounts.of(pa.array(["1"], pa.large_string()))]
    with pytest.raises(DataError, match=r"'city' has different types[\s\S]*int64 and large_string"):
        CategoryCounts.merged(parts, "city")


def test_rows_without_a_type_merge_with_either(tmp_path: Path) -> None:
    nulls = CategoryCounts.of(pa.nulls(3))
    found = CategoryCounts.merged([nulls, CategoryCounts.of(pa.array([7, None]))])
    assert (found.total, found.missing, found.kind) == (1, 4, pa.int64())
    for counts in (nulls, found, CategoryCounts.of(pa.array(["a"], pa.large_string()))):
        pq.write_table(counts.to_arrow(), tmp_path / "counts.parquet")
        assert same(CategoryCounts.from_arrow(pq.read_table(tmp_path / "counts.parquet")), counts)
