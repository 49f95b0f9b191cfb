"""Quantiles of the numeric inputs as the batch has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_ray.data.numeric_transforms import INPUT_RANKS
from mtl_ray.data.packing import unpacked
from mtl_ray.data.preprocessing import Preprocessing, PreprocessingConfig, fit
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.service_spec import FeatureSpec

X = (FeatureSpec(name="x", source="view", view="v", encoding="numeric"),)
RANKS = np.linspace(0.0, 1.0, 65)


def fitted(values: Any, **config: Any) -> Preprocessing:
    return fit(PreprocessingConfig(**config), X, pa.table({"x": pa.array(values, pa.float64())}))


@pytest.mark.parametrize("transform", ["standard", "log_standard", "quantile"])
@pytest.mark.parametrize("clip", [None, (0.05, 0.9)])
def test_they_are_those_of_the_encoded_column_bit_for_bit(transform: str, clip: tuple[float, float] | None) -> None:
    rng = np.random.default_rng(2)
    values = np.where(rng.random(3000) < 0.1, np.nan, np.round(rng.lognormal(size=3000), 2))
    preprocessing = fitted(values, numeric=transform, clip_quantiles=clip)
    inputs = unpacked(preprocessing.encode(pa.table({"x": values}))["numeric"])[:, 0]
    (found, indicator) = preprocessing.batch_schema(["click"]).numeric_quantiles
    expected = np.quantile(inputs[np.isfinite(values)], RANKS, method="lower")
    assert len(found) == INPUT_RANKS
    np.testing.assert_array_equal(np.array(found, dtype=np.float32), expected)
    assert indicator == (0.0, 1.0)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32) | st.none(), min_size=1, max_size=40),
    st.sampled_from(["standard", "log_standard", "quantile"]),
    st.integers(0, 40),
)
def test_they_rise_and_do_not_depend_on_the_cut(values: list[float | None], transform: str, cut: int) -> None:
    config = PreprocessingConfig(numeric=transform)  # type: ignore[arg-type]
    table = pa.table({"x": pa.array(values, pa.float64())})
    parts = [PreprocessingState.of(config, X, part) for part in (table.slice(0, cut), table.slice(cut))]
    whole = fit(config, X, table)
    assert PreprocessingState.merged(parts).finish() == whole
    found = whole.numeric[0].input_quantiles
    assert list(found) == sorted(found)
    assert all(np.isfinite(found))


@pytest.mark.parametrize("values", [[3.0, 3.0, None], [None, None]])
def test_a_column_that_does_not_vary_has_one(values: list[float | None]) -> None:
    preprocessing = fitted(values)
    assert preprocessing.batch_schema(["click"]).numeric_quantiles[0] == (0.0,)
    assert Preprocessing.model_validate_json(preprocessing.model_dump_json()) == preprocessing
