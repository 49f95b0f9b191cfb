"""The index equals one that is computed from the raw values, and tells drift from chance."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_ray.data.contract.psi import FEWEST, FLOOR, TOP, category_psi, number_psi
from mtl_ray.data.distributions import CategoryCounts, NumberDistribution


def from_shares(expected: np.ndarray, actual: np.ndarray, rows: tuple[int, int]) -> float:
    e = np.clip(expected, max(FLOOR, 1 / (2 * rows[0])), None)
    a = np.clip(actual, max(FLOOR, 1 / (2 * rows[1])), None)
    return float(np.sum((a - e) * np.log(a / e)))


def brute_force_numbers(train: np.ndarray, test: np.ndarray) -> float:
    """Counts every value into its bin, from np.quantile's deciles."""
    present = train[~np.isnan(train)]
    edges = sorted(set(np.quantile(present, np.arange(1, 10) / 10).tolist())) if present.size else []

    def shares(values: np.ndarray) -> np.ndarray:
        counts = np.zeros(len(edges) + 3)
        for value in values:
            if np.isnan(value):
                counts[-1] += 1
            elif edges and edges[0] == present.min() and value < edges[0]:
                counts[-2] += 1
            else:
                counts[sum(value > edge for edge in edges)] += 1
        return counts / values.size

    expected, actual = shares(train), shares(test)
    if not (edges and edges[0] == present.min()):
        expected, actual = np.delete(expected, -2), np.delete(actual, -2)
    return from_shares(expected, actual, (train.size, test.size))


def brute_force_categories(train: list[str | None], test: list[str | None]) -> float:
    known = sorted({value for value in train if value is not None})
    present = len(train) - train.count(None)
    frequent = [value for value in known if train.count(value) * min(len(train), len(test)) >= FEWEST * present]
    top = sorted(frequent, key=lambda value: -train.count(value))[:TOP]

    def shares(values: list[str | None]) -> np.ndarray:
        counts = [values.count(value) for value in top]
        missing = values.count(None)
        return np.array([*counts, len(values) - sum(counts) - missing, missing]) / len(values)

    return from_shares(shares(train), shares(test), (len(train), len(test)))


def numbers(train: np.ndarray, test: np.ndarray) -> float:
    found = number_psi(NumberDistribution.of(train), NumberDistribution.of(test))
    assert found is not None
    return found.value


def categories(train: list[str | None], test: list[str | None]) -> float:
    counts = [CategoryCounts.of(pa.array(values, pa.large_string())) for values in (train, test)]
    missing = train.count(None), test.count(None)
    found = category_psi(counts[0], counts[1], missing, (len(train), len(test)))
    assert found is not None
    return found.value


FEW = st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.5, -3.0, np.nan]), min_size=1, max_size=40)
MANY = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(np.nan)), min_size=1, max_size=40)


@given(train=st.one_of(FEW, MANY), test=st.one_of(FEW, MANY))
def test_numbers_equal_the_index_of_raw_values(train: list[float], test: list[float]) -> None:
    a, b = np.array(train), np.array(test)
    assert numbers(a, b) == pytest.approx(brute_force_numbers(a, b), abs=1e-9)


@given(
    train=st.lists(st.sampled_from([None, *"abcdefgh", *"abc" * 9]), min_size=1, max_size=150),
    test=st.lists(st.sampled_from([None, *"aabbcxyzABC"]), min_size=1, max_size=150),
)
def test_categories_equal_the_index_of_raw_values(train: list[str | None], test: list[str | None]) -> None:
    assert categories(train, test) == pytest.approx(brute_force_categories(train, test), abs=1e-9)


def test_equal_parts_have_none() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    assert numbers(values, values) == 0.0
    assert categories(["a", "b", None], ["a", "b", None]) == 0.0


def test_known_case_of_two_bins() -> None:
    # 0.8 -> 0.5 and 0.2 -> 0.5: 0.3 ln(0.8 / 0.5) + 0.3 ln(0.5 / 0.2), the bins of rest and missing stay empty.
    expected = 0.3 * np.log(0.8 / 0.5) + 0.3 * np.log(0.5 / 0.2)
    assert categories(["a"] * 80 + ["b"] * 20, ["a"] * 50 + ["b"] * 50) == pytest.approx(expected, rel=1e-12)


def test_a_constant_that_changes_is_seen_in_both_directions() -> None:
    for other in (4.0, 6.0):
        assert numbers(np.full(500, 5.0), np.full(500, other)) > 5.0


def test_more_frequent_values_than_bins() -> None:
    """Each of 26 letters is frequent; 20 of them have bins."""
    letters: list[str | None] = [chr(97 + place) for place in range(26)]
    train = letters * 200 + letters[3:9] * 50
    assert categories(train, letters[::-1][:13] * 100) == pytest.approx(
        brute_force_categories(train, letters[::-1][:13] * 100), abs=1e-9
    )


def test_missing_values_and_new_categories_are_drift() -> None:
    values = np.arange(1000.0)
    gaps = np.where(np.arange(1000) % 2 == 0, np.nan, values)
    assert numbers(values, gaps) > 0.25
    assert categories(["a", "b"] * 500, ["a", "c"] * 500) > 0.25


@pytest.mark.parametrize("rows", [20, 150, 2000])
def test_samples_of_one_distribution_rarely_pass_chance(rows: int) -> None:
    generator = np.random.default_rng(5)
    passed = np.zeros(2)
    for _ in range(200):
        train, test = (NumberDistribution.of(generator.normal(size=size)) for size in (800, rows))
        ids, other_ids = (CategoryCounts.of(pa.array(generator.integers(0, 30, size))) for size in (800, rows))
        for place, found in enumerate((number_psi(train, test), category_psi(ids, other_ids, (0, 0), (800, rows)))):
            assert found is not None
            passed[place] += found.value > found.by_chance
    # 2 are expected; more than 8 of 200 at 1 % each have a probability below 1e-3.
    assert (passed <= 8).all(), passed


def test_drift_passes_chance_in_small_parts() -> None:
    generator = np.random.default_rng(6)
    found = number_psi(
        NumberDistribution.of(generator.normal(size=800)), NumberDistribution.of(generator.normal(1.0, size=150))
    )
    assert found is not None
    assert found.value > max(0.25, found.by_chance)


def test_a_part_without_rows_has_no_index() -> None:
    rows, none = NumberDistribution.of(np.arange(3.0)), NumberDistribution.of(np.empty(0))
    assert number_psi(rows, none) is None
    assert number_psi(none, rows) is None
    text, integers = CategoryCounts.of(pa.array(["a"], pa.large_string())), CategoryCounts.of(pa.array([1]))
    assert category_psi(text, text, (0, 0), (1, 0)) is None
    assert category_psi(text, integers, (0, 0), (1, 1)) is None
