"""Vocabularies that grow by appended rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_ray.data.packing import unpacked
from mtl_ray.data.preprocessing import Preprocessing, PreprocessingConfig, fit
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.service_spec import Encoding, FeatureSpec
from mtl_ray.data.vocabulary_growth import Growth, grow
from mtl_ray.errors import DataError


def spec(name: str, encoding: Encoding, vocabulary: str | None = None) -> FeatureSpec:
    return FeatureSpec(name=name, source="view", view="v", encoding=encoding, vocabulary=vocabulary)


CITY = (spec("city", "categorical"),)


def grown(
    old: list[Any], new: list[Any], features: tuple[FeatureSpec, ...] = CITY, **config: Any
) -> tuple[Preprocessing, Growth]:
    settings = PreprocessingConfig(**config)
    before = fit(settings, features, pa.table({"city": old}))
    after, growth = grow(before, PreprocessingState.of(settings, features, pa.table({"city": new})), settings)
    assert list(growth) == ["city"]
    return after, growth["city"]


def test_new_values_follow_by_falling_count_then_value() -> None:
    after, growth = grown(["b", "b", "a"], ["d", "c", "e", "e", "a", None, "b", "a"])
    assert after.vocabularies["city"].values == ("b", "a", "e", "c", "d")
    assert growth == Growth(old_size=4, new_size=7, unknown_share=4 / 7, below_min_count=0, over_limit=0)


def test_min_count_and_limit_leave_values_out_and_count_them() -> None:
    old = [1] * 3 + [2] * 2
    new = [9] * 4 + [8] * 3 + [7] * 2 + [6, 5] + [1] * 5
    after, growth = grown(old, new, min_count=2, max_vocabulary=4)
    assert after.vocabularies["city"].values == (1, 2, 9, 8)
    assert growth == Growth(old_size=4, new_size=6, unknown_share=11 / 16, below_min_count=2, over_limit=1)


def test_a_vocabulary_already_above_the_limit_keeps_all_its_ids() -> None:
    before = fit(PreprocessingConfig(), CITY, pa.table({"city": ["a", "b", "c"]}))
    small = PreprocessingConfig(max_vocabulary=2)
    after, growth = grow(before, PreprocessingState.of(small, CITY, pa.table({"city": ["d"]})), small)
    assert after == before
    assert growth["city"] == Growth(old_size=5, new_size=5, unknown_share=1.0, below_min_count=0, over_limit=1)


@pytest.mark.parametrize("new", [[], [None, None], ["a", "a"]])
def test_nothing_new_changes_nothing(new: list[Any]) -> None:
    after, growth = grown(["a", "b"], new)
    assert after.vocabularies["city"].values == ("a", "b")
    assert growth == Growth(old_size=4, new_size=4, unknown_share=0.0, below_min_count=0, over_limit=0)


def test_an_empty_vocabulary_takes_the_type_of_the_new_rows() -> None:
    after, growth = grown([None], ["x", "x", "w"])
    assert after.vocabularies["city"].values == ("x", "w")
    assert (growth.old_size, growth.new_size, growth.unknown_share) == (2, 4, 1.0)


FEATURES = (spec("item", "categorical", "item"), spec("price", "numeric"), spec("recent", "list", "item"))


def table(items: list[Any], recent: list[Any], prices: list[Any]) -> pa.Table:
    return pa.table(
        {
            "item": pa.array(items, pa.int64()),
            "recent": pa.array(recent, pa.list_(pa.int64())),
            "price": pa.array(prices, pa.float64()),
        }
    )


def test_features_that_share_a_vocabulary_are_counted_together_and_numbers_stay() -> None:
    config = PreprocessingConfig(min_count=2, list_max_length=2)
    before = fit(config, FEATURES, table([1, 1], [[1], None], [1.0, 2.0]))
    # 5 occurs once in each column; the 7s are cut off the lists' front.
    new = table([5, None], [[7, 7, 5, 1], [7, 1, 1]], [1e6, None])
    after, growth = grow(before, PreprocessingState.of(config, FEATURES, new), config)
    assert after.vocabularies["item"].values == (1, 5)
    assert growth["item"] == Growth(old_size=3, new_size=4, unknown_share=2 / 5, below_min_count=0, over_limit=0)
    assert (after.numeric, after.missing) == (before.numeric, before.missing)
    assert unpacked(after.encode(new)["list_recent"]).tolist() == [[3, 2], [2, 2]]


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), max_size=30), st.lists(st.integers(0, 12), max_size=30), st.integers(1, 3))
def test_known_rows_encode_as_before(old: list[int], new: list[int], min_count: int) -> None:
    config = PreprocessingConfig(min_count=min_count)
    both = pa.table({"city": pa.array([*old, *new], pa.int64())})
    before = fit(config, CITY, both.slice(0, len(old)))
    after, growth = grow(before, PreprocessingState.of(config, CITY, both.slice(len(old))), config)
    ids, new_ids = (unpacked(fitted.encode(both)["categorical"])[:, 0] for fitted in (before, after))
    np.testing.assert_array_equal(new_ids[ids > 1], ids[ids > 1])
    known = set(before.vocabularies["city"].values)
    late = sorted({value for value in new if value not in known and new.count(value) >= min_count})
    expected = sorted(late, key=lambda value: (-new.count(value), value))
    assert after.vocabularies["city"].values == (*before.vocabularies["city"].values, *expected)
    assert growth["city"].new_size == after.vocabularies["city"].size
    assert growth["city"].unknown_share == pytest.approx(sum(value not in known for value in new) / (len(new) or 1))


def test_other_features_lengths_and_types_are_refused() -> None:
    config = PreprocessingConfig(list_max_length=2)
    rows = table([1], [[1]], [1.0])
    before = fit(config, FEATURES, rows)
    with pytest.raises(DataError, match=r"features price\n[\s\S]*price: absent[\s\S]*price: a number"):
        grow(before, PreprocessingState.of(config, (FEATURES[0], FEATURES[2]), rows), config)
    longer = PreprocessingConfig(list_max_length=3)
    with pytest.raises(DataError, match=r"the last 3 categories of item[\s\S]*the last 2 categories of item"):
        grow(before, PreprocessingState.of(longer, FEATURES, rows), longer)
    with pytest.raises(DataError, match=r"'city' has another type[\s\S]*found:\s+text[\s\S]*integers"):
        grown([1, 2], ["1"])
