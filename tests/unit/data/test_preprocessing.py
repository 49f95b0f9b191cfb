"""Fitting and encoding features, against scikit-learn where it has the same rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from mtl_ray.data.packing import unpacked
from mtl_ray.data.preprocessing import Preprocessing, PreprocessingConfig, fit
from mtl_ray.data.service_spec import Encoding, FeatureSpec
from mtl_ray.errors import DataError
from mtl_ray.schema import FIRST_KNOWN_ID, MISSING_ID, UNKNOWN_ID


def feature(name: str, encoding: Encoding, vocabulary: str | None = None) -> FeatureSpec:
    shared = None if encoding == "numeric" else vocabulary or name
    return FeatureSpec(name=name, source="view", view="v", encoding=encoding, vocabulary=shared)


def fitted(values: Any, encoding: Encoding, **config: Any) -> Preprocessing:
    table = pa.table({"x": values if isinstance(values, pa.Array) else pa.array(values)})
    return fit(PreprocessingConfig(**config), [feature("x", encoding)], table)


def encoded(preprocessing: Preprocessing, values: Any, column: str) -> np.ndarray:
    table = pa.table({"x": values if isinstance(values, pa.Array) else pa.array(values)})
    return unpacked(preprocessing.encode(table)[column])


def ids(preprocessing: Preprocessing, values: Any) -> list[int]:
    found: list[int] = encoded(preprocessing, values, "categorical")[:, 0].tolist()
    return found


def numbers(preprocessing: Preprocessing, values: Any) -> np.ndarray:
    return encoded(preprocessing, values, "numeric")[:, 0]


# categorical


def test_ids_fall_with_the_count_and_rise_with_the_value() -> None:
    preprocessing = fitted(["b", "a", "c", "c", None, "a", "b", "d"], "categorical")
    assert preprocessing.vocabularies["x"].values == ("a", "b", "c", "d")
    assert ids(preprocessing, ["d", "a", None, "never seen"]) == [5, FIRST_KNOWN_ID, MISSING_ID, UNKNOWN_ID]


def test_min_count_and_max_vocabulary_leave_the_rest_unknown() -> None:
    values = [7] * 5 + [3] * 4 + [9] * 2 + [1]
    assert fitted(values, "categorical", min_count=2).vocabularies["x"].values == (7, 3, 9)
    small = fitted(values, "categorical", max_vocabulary=2)
    assert small.vocabularies["x"].values == (7, 3)
    assert ids(small, [9, 7]) == [UNKNOWN_ID, FIRST_KNOWN_ID]
    assert small.batch_schema(["click"]).vocabularies == {"x": 4}


@pytest.mark.parametrize(
    "values",
    [
        pa.array([5, None, 2**60 + 1, 5], pa.int64()),
        pa.array(["x", None, "y", "x"], pa.large_string()),
        pa.array(["x", None, "y", "x"]).dictionary_encode(),
        pa.array([True, None, False, True]),
        pa.array([3, None, 200, 3], pa.uint8()),
        pa.array([3.0, float("nan"), 7.0, 3.0], pa.float32()),
    ],
)
def test_types_of_categories(values: pa.Array) -> None:
    assert ids(fitted(values, "categorical"), values) == [2, MISSING_ID, 3, 2]


def test_integers_that_went_through_pandas_are_found() -> None:
    preprocessing = fitted([10, 20, 20], "categorical")
    assert ids(preprocessing, [20.0, float("nan"), 10.0, 11.0]) == [2, MISSING_ID, 3, UNKNOWN_ID]


def test_a_column_without_values_gets_no_vocabulary() -> None:
    preprocessing = fitted(pa.array([None, None], pa.null()), "categorical")
    assert preprocessing.missing == {"x": 1.0}
    assert ids(preprocessing, ["a", None]) == [UNKNOWN_ID, MISSING_ID]


def test_other_types_are_refused() -> None:
    with pytest.raises(DataError, match=r"'x' has another type[\s\S]*found:\s+text[\s\S]*integers"):
        ids(fitted([1, 2], "categorical"), ["1"])
    with pytest.raises(DataError, match="holds fractions"):
        fitted([1.5, 2.0], "categorical")
    with pytest.raises(DataError, match=r"cannot be categorical[\s\S]*list"):
        fitted([[1], [2]], "categorical")


def test_a_shared_vocabulary_counts_key_and_list_together() -> None:
    table = pa.table({"item_id": pa.array([1, 2, 2]), "recent": pa.array([[1, 3], [1, None], []])})
    features = [feature("item_id", "categorical"), feature("recent", "list", "item_id")]
    preprocessing = fit(PreprocessingConfig(list_max_length=4), features, table)
    assert preprocessing.vocabularies["item_id"].values == (1, 2, 3)
    batch = preprocessing.encode(table)
    assert unpacked(batch["categorical"]).tolist() == [[2], [3], [3]]
    # Newest last, padded in front; a null value in a list is missing.
    assert unpacked(batch["list_recent"]).tolist() == [[0, 0, 2, 4], [0, 0, 2, 0], [0, 0, 0, 0]]


def test_a_shared_vocabulary_of_text_and_integers_is_refused() -> None:
    table = pa.table({"item_id": pa.array([1]), "recent": pa.array([["1"]])})
    with pytest.raises(DataError, match="item_id: int64, recent: large_string"):
        fit(PreprocessingConfig(), [feature("item_id", "categorical"), feature("recent", "list", "item_id")], table)


# lists


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.int32())])
def test_lists_keep_the_newest_and_count_only_those(kind: pa.DataType) -> None:
    values = pa.array([[9, 9, 9, 4, 5, 6], [5, 6], None, [], [6]], kind)
    preprocessing = fitted(values, "list", list_max_length=3)
    assert preprocessing.vocabularies["x"].values == (6, 5, 4)
    assert preprocessing.missing["x"] == pytest.approx(0.4)
    expected = [[4, 3, 2], [0, 3, 2], [0, 0, 0], [0, 0, 0], [0, 0, 2]]
    assert encoded(preprocessing, values, "list_x").tolist() == expected
    assert encoded(preprocessing, values.slice(1, 2), "list_x").tolist() == expected[1:3]
    assert encoded(preprocessing, pa.array([[9, 4]]), "list_x").tolist() == [[0, UNKNOWN_ID, 4]]


def test_a_column_of_no_lists_is_refused() -> None:
    with pytest.raises(DataError, match="does not hold lists"):
        fitted([1, 2], "list")


# numbers


def sample(rows: int = 5000) -> np.ndarray:
    return np.random.default_rng(0).lognormal(0.0, 1.0, rows)


def test_standard_equals_scikit_learn() -> None:
    x = sample()
    expected = StandardScaler().fit_transform(x[:, None])[:, 0]
    np.testing.assert_allclose(numbers(fitted(x, "numeric", clip_quantiles=None), x), expected, rtol=1e-6, atol=1e-6)


def test_quantile_equals_scikit_learn_between_the_extremes() -> None:
    x = sample()
    new = np.random.default_rng(1).lognormal(0.0, 1.0, 2000)
    reference = QuantileTransformer(n_quantiles=1000, output_distribution="normal", subsample=None).fit(x[:, None])
    expected = reference.transform(new[:, None])[:, 0]
    got = numbers(fitted(x, "numeric", numeric="quantile", clip_quantiles=None), new)
    inside = np.abs(expected) < 3.0
    assert inside.mean() > 0.99
    np.testing.assert_allclose(got[inside], expected[inside], atol=1e-5)
    assert np.abs(got).max() < 3.3


def test_quantile_puts_ties_in_the_middle_of_their_ranks() -> None:
    x = np.concatenate([np.zeros(500), np.linspace(1.0, 2.0, 500)])
    got = numbers(fitted(x, "numeric", numeric="quantile", clip_quantiles=None), np.array([0.0, 1.5]))
    # Zeros fill the ranks 0 to 0.5: the normal quantile of 0.25. scikit-learn would say -5.2.
    np.testing.assert_allclose(got, [-0.6745, 0.6745], atol=5e-3)


def test_log_standard() -> None:
    x = sample() - 1.0
    y = np.sign(x) * np.log1p(np.abs(x))
    got = numbers(fitted(x, "numeric", numeric="log_standard", clip_quantiles=None), x)
    np.testing.assert_allclose(got, (y - y.mean()) / y.std(), atol=1e-6)


@pytest.mark.parametrize("transform", ["standard", "quantile", "log_standard"])
def test_clipping_rule(transform: str) -> None:
    x = sample()
    low, high = np.quantile(x, [0.01, 0.99])
    preprocessing = fitted(x, "numeric", numeric=transform, clip_quantiles=(0.01, 0.99))
    got = numbers(preprocessing, np.array([-1e12, low, high, 1e300]))
    assert got[0] == got[1]
    assert got[2] == got[3]
    assert got[1] < got[2]
    if transform == "standard":
        clipped = np.clip(x, low, high)
        np.testing.assert_allclose(got[2], (high - clipped.mean()) / clipped.std(), rtol=1e-6)


def test_a_rare_count_is_not_clipped_away() -> None:
    x = np.zeros(100_000)
    x[:10] = 5.0
    got = numbers(fitted(x, "numeric"), np.array([0.0, 5.0]))
    assert got[1] > 10.0 > got[0]


@pytest.mark.parametrize("transform", ["standard", "quantile", "log_standard"])
def test_constant_columns_become_zero(transform: str) -> None:
    preprocessing = fitted([3.0, 3.0, 3.0], "numeric", numeric=transform)
    assert numbers(preprocessing, [3.0, 8.0, None]).tolist() == [0.0, 0.0, 0.0]


def test_missing_nan_and_infinite_are_zero_with_an_indicator() -> None:
    values = [1.0, None, float("nan"), float("inf"), -float("inf"), 3.0]
    preprocessing = fitted(values, "numeric", clip_quantiles=None)
    assert preprocessing.batch_schema(["click"]).numeric == ("x", "x__missing")
    assert preprocessing.missing["x"] == pytest.approx(4 / 6)
    assert encoded(preprocessing, values, "numeric").tolist() == [[-1, 0], [0, 1], [0, 1], [0, 1], [0, 1], [1, 0]]


def test_no_indicator_where_the_training_part_misses_nothing_or_none_is_wanted() -> None:
    assert fitted([1.0, 2.0], "numeric").numeric_inputs == ("x",)
    assert fitted([1.0, None, 2.0], "numeric", missing_indicators=False).numeric_inputs == ("x",)
    assert numbers(fitted([1.0, 2.0], "numeric"), [None]).tolist() == [0.0]


def test_integers_and_truth_values_are_numbers_and_text_is_not() -> None:
    assert numbers(fitted([1, 3], "numeric", clip_quantiles=None), pa.array([1, None], pa.int8())).tolist() == [-1, 0]
    assert numbers(fitted([True, False], "numeric", clip_quantiles=None), [True]).tolist() == [1.0]
    with pytest.raises(DataError, match=r"'x' does not hold numbers[\s\S]*string"):
        fitted(["1"], "numeric")


# the document


def everything() -> tuple[Preprocessing, pa.Table]:
    rng = np.random.default_rng(3)
    table = pa.table(
        {
            "user": pa.array(rng.integers(0, 50, 400)),
            "city": pa.array([None if value == 0 else f"c{value}" for value in rng.integers(0, 9, 400)]),
            "amount": pa.array(np.where(rng.random(400) < 0.1, np.nan, rng.normal(size=400) / 3.0)),
            "recent": pa.array([rng.integers(0, 50, size).tolist() for size in rng.integers(0, 9, 400)]),
        }
    )
    features = [
        feature("user", "categorical"),
        feature("city", "categorical"),
        feature("amount", "numeric"),
        feature("recent", "list"),
    ]
    return fit(PreprocessingConfig(numeric="quantile", list_max_length=5), features, table), table


def test_json_round_trip_is_exact() -> None:
    preprocessing, table = everything()
    read = Preprocessing.model_validate_json(preprocessing.model_dump_json())
    assert read == preprocessing
    assert read.vocabularies["user"].values == preprocessing.vocabularies["user"].values
    assert all(type(value) is int for value in read.vocabularies["user"].values)
    assert read.numeric[0].knots == preprocessing.numeric[0].knots
    assert read.encode(table).equals(preprocessing.encode(table))


def test_rows_encode_alike_alone_and_together() -> None:
    preprocessing, table = everything()
    whole = preprocessing.encode(table)
    pieces = pa.concat_tables(preprocessing.encode(table.slice(row, 1)) for row in range(0, 400, 40))
    assert pieces.combine_chunks().equals(whole.take(list(range(0, 400, 40))).combine_chunks())


def test_only_the_training_part_counts() -> None:
    preprocessing, table = everything()
    later = table.set_column(1, "city", pa.array(["elsewhere"] * 400)).set_column(2, "amount", pa.array([1e9] * 400))
    batch = preprocessing.encode(later)
    assert set(unpacked(batch["categorical"])[:, 1].tolist()) == {UNKNOWN_ID}
    assert preprocessing.numeric[0].high is not None
    assert preprocessing.numeric[0].high < 2.0


def test_encoding_shares_memory_and_has_no_nulls() -> None:
    preprocessing, table = everything()
    batch = preprocessing.encode(table)
    assert batch.column_names == ["categorical", "numeric", "list_recent"]
    for column in batch.columns:
        assert column.num_chunks == 1
        chunk = column.chunk(0)
        values = chunk.values.to_numpy(zero_copy_only=True)
        assert np.shares_memory(unpacked(chunk), values)
        assert chunk.null_count == 0


def test_a_kind_without_features_has_no_column() -> None:
    assert fitted(["a"], "categorical").encode(pa.table({"x": ["a"]})).column_names == ["categorical"]


def test_an_absent_column_is_named_with_the_nearest() -> None:
    preprocessing, table = everything()
    with pytest.raises(DataError, match=r"'amount' is absent[\s\S]*did you mean 'amounts'"):
        preprocessing.encode(table.rename_columns(["user", "city", "amounts", "recent"]))


def test_clip_quantiles_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="must be smaller"):
        PreprocessingConfig(clip_quantiles=(0.9, 0.1))
