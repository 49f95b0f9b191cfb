"""Splits by time: which part a row lands in, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mtl_ray.data.splits import SplitConfig, assign
from mtl_ray.errors import DataError

START = datetime(2026, 1, 1, tzinfo=UTC)


def column(seconds: list[int]) -> pa.Array:
    return pa.array([START + timedelta(seconds=second) for second in seconds], pa.timestamp("us", "UTC"))


def test_fractions_in_any_order_of_rows() -> None:
    seconds = np.random.default_rng(0).permutation(100)
    parts, boundaries = assign(column(seconds.tolist()), SplitConfig(validation=0.2, test=0.1))
    np.testing.assert_array_equal(parts, np.where(seconds < 70, 0, np.where(seconds < 90, 1, 2)))
    assert boundaries.validation_from == START + timedelta(seconds=70)
    assert boundaries.test_from == START + timedelta(seconds=90)
    assert (boundaries.first, boundaries.last) == (START, START + timedelta(seconds=99))


def test_a_row_on_a_boundary_belongs_to_the_later_part() -> None:
    config = SplitConfig.model_validate(
        # 01:00:20 at +01:00 is 00:00:20 UTC
        {"validation_from": "2026-01-01T01:00:20+01:00", "test_from": "2026-01-01T00:00:30Z"}
    )
    parts, boundaries = assign(column([19, 20, 29, 30, 31]), config)
    assert parts.tolist() == [0, 1, 1, 2, 2]
    assert boundaries.validation_from == START + timedelta(seconds=20)


def test_a_microsecond_before_the_boundary_is_earlier() -> None:
    times = pa.array(
        [
            START,
            START + timedelta(seconds=10) - timedelta(microseconds=1),
            START + timedelta(seconds=10),
            START + timedelta(seconds=11),
        ],
        pa.timestamp("us", "UTC"),
    )
    config = SplitConfig(validation_from=START + timedelta(seconds=10), test_from=START + timedelta(seconds=11))
    assert assign(times, config)[0].tolist() == [0, 0, 1, 2]


@given(
    st.lists(st.integers(0, 30), min_size=3, max_size=200),
    st.floats(0.05, 0.45),
    st.floats(0.05, 0.45),
)
def test_equal_timestamps_never_straddle_a_boundary(seconds: list[int], validation: float, test: float) -> None:
    try:
        parts, _ = assign(column(seconds), SplitConfig(validation=validation, test=test))
    except DataError:  # too many equal timestamps for three parts
        return
    part_of: dict[int, set[int]] = {}
    for second, part in zip(seconds, parts.tolist(), strict=True):
        part_of.setdefault(second, set()).add(part)
    assert all(len(found) == 1 for found in part_of.values())
    ordered = parts[np.argsort(seconds, kind="stable")]
    assert (np.diff(ordered) >= 0).all()
    assert set(parts.tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("seconds", "part"),
    [([5, 5, 5, 5], "train"), ([0] + [5] * 9, "validation")],
)
def test_an_empty_part_is_named_with_the_range_of_the_data(seconds: list[int], part: str) -> None:
    with pytest.raises(DataError) as caught:
        assign(column(seconds), SplitConfig(validation=0.2, test=0.2))
    message = str(caught.value)
    assert f"The {part} part of the split has no rows." in message
    assert f"to {(START + timedelta(seconds=5)).isoformat()}" in message


def test_an_empty_test_part_names_its_boundary() -> None:
    config = SplitConfig(validation_from=START + timedelta(seconds=2), test_from=START + timedelta(days=1))
    with pytest.raises(DataError, match=r"The test part[\s\S]*none from 2026-01-02T00:00:00\+00:00"):
        assign(column([0, 1, 2, 3]), config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"validation_from": "2026-01-01T00:00:00", "test_from": "2026-01-02T00:00:00Z"}, "needs a time zone"),
        ({"validation_from": "2026-01-03T00:00:00Z", "test_from": "2026-01-02T00:00:00Z"}, "must be before"),
        ({"validation": 0.1, "test_from": "2026-01-02T00:00:00Z"}, "not both"),
        ({"validation": 0.1}, "needs both"),
        ({"test_from": "2026-01-02T00:00:00Z"}, "needs both"),
        ({}, "needs both"),
        ({"validation": 0.6, "test": 0.4}, "leave nothing to train on"),
        ({"validation": 0.0, "test": 0.4}, "greater than 0"),
        ({"by": "user", "validation": 0.1, "test": 0.1}, "time"),
    ],
)
def test_refused_configs(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SplitConfig.model_validate(fields)


def test_json_round_trip_keeps_the_offset() -> None:
    zone = timezone(timedelta(hours=8))
    config = SplitConfig(validation_from=datetime(2022, 5, 6, tzinfo=zone), test_from=datetime(2022, 5, 7, tzinfo=zone))
    assert SplitConfig.model_validate_json(config.model_dump_json()) == config
