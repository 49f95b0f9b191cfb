"""Preprocessing fitted bucket by bucket against the rules written here for all rows at once, in plain numpy.

Vocabularies, clipping bounds, knots and missing shares must be equal to the bit, mean and std to 1e-12.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtl_ray.data.numeric_transforms import NumericStatistics
from mtl_ray.data.preprocessing import Preprocessing, PreprocessingConfig, fit
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.service_spec import Encoding, FeatureSpec

EPSILON = float(np.finfo(np.float64).eps)


def spec(name: str, encoding: Encoding, vocabulary: str | None = None) -> FeatureSpec:
    return FeatureSpec(name=name, source="view", view="v", encoding=encoding, vocabulary=vocabulary)


FEATURES = (
    spec("item", "categorical", "item"),
    spec("amount", "numeric"),
    spec("city", "categorical", "city"),
    spec("recent", "list", "item"),
    spec("second", "numeric"),
)

NUMBER_KINDS: tuple[tuple[pa.DataType, st.SearchStrategy[Any]], ...] = (
    (pa.float64(), st.floats(-1e100, 1e100) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0])),
    (pa.float64(), st.integers(-5, 5).map(lambda n: n / 7.0)),
    (pa.float32(), st.floats(-1e6, 1e6, width=32)),
    (pa.int64(), st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)),
    (pa.int8(), st.integers(0, 2)),
    (pa.bool_(), st.booleans()),
    (pa.decimal128(12, 3), st.decimals(-1000, 1000, places=3)),
    (pa.float64(), st.just(3.7)),
    (pa.float64(), st.nothing()),
    (pa.null(), st.nothing()),
)


@st.composite
def number_column(draw: st.DrawFn, rows: int) -> pa.Array:
    kind, values = draw(st.sampled_from(NUMBER_KINDS))
    return pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 40))
    item = st.none() | st.integers(0, 9) | st.just(2**60 + 1)
    city = st.none() | st.text("ab\u00e9\U0001f600", max_size=2)
    columns = {
        "item": pa.array(draw(st.lists(item, min_size=rows, max_size=rows)), pa.int64()),
        "amount": draw(number_column(rows)),
        "city": pa.array(draw(st.lists(city, min_size=rows, max_size=rows)), pa.string()),
        "recent": pa.array(
            draw(st.lists(st.none() | st.lists(item, max_size=5), min_size=rows, max_size=rows)), pa.list_(pa.int64())
        ),
        "second": draw(number_column(rows)),
    }
    return pa.table(columns)


CONFIGS = st.builds(
    PreprocessingConfig,
    numeric=st.sampled_from(["standard", "quantile", "log_standard"]),
    clip_quantiles=st.sampled_from([None, (0.001, 0.999), (0.1, 0.6), (0.0, 1.0)]),
    min_count=st.integers(1, 3),
    max_vocabulary=st.integers(1, 6) | st.just(1_000_000),
    list_max_length=st.integers(1, 4),
    missing_indicators=st.booleans(),
)


def reference_statistics(config: PreprocessingConfig, column: Sequence[Any]) -> dict[str, Any]:
    """What the rules say of a column, `mean` and `std` included, and how far those may be off (`slack`)."""
    numbers = np.array([math.nan if value is None else float(value) for value in column], dtype=np.float64)
    x = numbers[np.isfinite(numbers)]
    missing = len(column) - x.size
    low = high = None
    if config.clip_quantiles is not None and x.size:
        low, high = np.quantile(x, config.clip_quantiles).tolist()
        if low == high:
            low = high = None
        else:
            x = np.minimum(np.maximum(x, low), high)
    knots = None
    mean = std = slack = 0.0
    if x.size and x.min() != x.max():
        y = np.sign(x) * np.log1p(np.abs(x)) if config.numeric == "log_standard" else x
        mean, std = y.mean(), y.std()
        slack = 4.0 * EPSILON * np.abs(y).max()
        if config.numeric == "quantile":
            knots = np.maximum.accumulate(np.quantile(x, np.linspace(0.0, 1.0, min(1000, x.size))))
    return {
        "missing": missing,
        "indicator": config.missing_indicators and missing > 0,
        "low": low,
        "high": high,
        "knots": None if knots is None else tuple(knots.tolist()),
        "mean": mean,
        "std": std,
        "slack": slack,
    }


def plain(column: pa.ChunkedArray) -> list[Any]:
    # Arrow reads a decimal as a float that may be the neighbour of the nearest one.
    return (column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column).to_pylist()


def reference_vocabulary(config: PreprocessingConfig, values: Sequence[Any]) -> tuple[Any, ...]:
    counts = Counter(value for value in values if value is not None)
    # UTF-8 orders as code points do, which is how Python compares text.
    order = sorted((-count, value) for value, count in counts.items() if count >= config.min_count)
    return tuple(value for _, value in order[: config.max_vocabulary])


def check_statistics(found: NumericStatistics, config: PreprocessingConfig, column: Sequence[Any]) -> None:
    expected = reference_statistics(config, column)
    assert found.transform == config.numeric
    for key in ("missing", "indicator", "low", "high", "knots"):
        assert getattr(found, key) == expected[key], key
    assert found.mean == pytest.approx(expected["mean"], rel=1e-12, abs=expected["slack"])
    # Where the values differ by little beside their size, their own rounding is all that the std can promise.
    assert found.std == pytest.approx(expected["std"], rel=1e-12, abs=expected["slack"] + 1e-150)
    assert (found.std == 0.0) == (expected["std"] == 0.0) or expected["std"] <= expected["slack"]


def check(found: Preprocessing, config: PreprocessingConfig, table: pa.Table) -> None:
    rows = {name: plain(column) for name, column in zip(table.column_names, table.columns, strict=True)}
    kept = [(values or [])[-config.list_max_length :] for values in rows["recent"]]
    assert found.vocabularies["item"].values == reference_vocabulary(config, [*rows["item"], *chain(*kept)])
    assert found.vocabularies["city"].values == reference_vocabulary(config, rows["city"])
    assert list(found.vocabularies) == ["item", "city"]
    for statistics in found.numeric:
        check_statistics(statistics, config, rows[statistics.name])
    share = table.num_rows or 1
    missing = {name: sum(value is None for value in rows[name]) / share for name in ("item", "city")}
    missing["recent"] = sum(not values for values in kept) / share
    for name in ("amount", "second"):
        missing[name] = reference_statistics(config, rows[name])["missing"] / share
    assert found.missing == missing
    assert [feature.name for feature in found.categorical] == ["item", "city"]
    assert [(listed.name, listed.vocabulary, listed.max_length) for listed in found.lists] == [
        ("recent", "item", config.list_max_length)
    ]


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(table=tables(), config=CONFIGS, data=st.data())
def test_buckets_give_what_the_rules_say_of_all_rows(
    table: pa.Table, config: PreprocessingConfig, data: st.DataObject
) -> None:
    check(fit(config, FEATURES, table), config, table)
    order = data.draw(st.permutations(range(table.num_rows)))
    shuffled = table.take(pa.array(order, pa.int64()))
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, table.num_rows), max_size=4))), table.num_rows]
    buckets = [shuffled.slice(start, end - start) for start, end in pairwise(cuts)]
    merged = PreprocessingState.merged(PreprocessingState.of(config, FEATURES, bucket) for bucket in buckets)
    # Not to a tolerance: to the last bit.
    assert merged.finish().model_dump_json() == fit(config, FEATURES, table).model_dump_json()


@pytest.mark.parametrize("transform", ["standard", "quantile", "log_standard"])
@pytest.mark.parametrize("kind", ["lognormal", "money", "counts", "seconds"])
def test_columns_of_everyday_size(transform: Any, kind: str) -> None:
    rng = np.random.default_rng(0)
    values = {
        "lognormal": rng.lognormal(0.0, 2.0, 20_000),
        "money": rng.lognormal(3.0, 1.0, 20_000).round(2),
        "counts": rng.poisson(0.3, 20_000).astype(np.float64),
        "seconds": 1.7e9 + rng.integers(0, 86400, 20_000),
    }[kind]
    values[::50] = np.nan
    config = PreprocessingConfig(numeric=transform)
    buckets = np.array_split(values, 7)
    states = (PreprocessingState.of(config, [spec("x", "numeric")], pa.table({"x": bucket})) for bucket in buckets)
    found = PreprocessingState.merged(states).finish().numeric[0]
    check_statistics(found, config, values.tolist())
    expected = reference_statistics(config, values.tolist())
    assert found.mean == pytest.approx(expected["mean"], rel=1e-12)
    assert found.std == pytest.approx(expected["std"], rel=1e-12)


def test_decimals_are_read_as_floats() -> None:
    column = pa.array([Decimal("0.1"), Decimal("0.3"), None], pa.decimal128(5, 1))
    found = fit(PreprocessingConfig(clip_quantiles=None), [spec("x", "numeric")], pa.table({"x": column}))
    assert found.numeric[0].mean == pytest.approx(0.2, rel=4 * EPSILON)
