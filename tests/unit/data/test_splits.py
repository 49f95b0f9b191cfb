"""Splits by time: which part a row lands in, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mtl_ray.data.splits import SplitBoundaries, SplitConfig, TimeSplitConfig
from mtl_ray.errors import DataError

START = datetime(2026, 1, 1, tzinfo=UTC)
SPLIT: TypeAdapter[Any] = TypeAdapter(SplitConfig)


def column(seconds: list[int]) -> pa.Array:
    return pa.array([START + timedelta(seconds=second) for second in seconds], pa.timestamp("us", "UTC"))


def assign(timestamps: pa.Array, config: TimeSplitConfig) -> tuple[np.ndarray, SplitBoundaries]:
    """The plan from one piece of the spine and from many, which must agree, applied to each piece by itself."""
    spine = pa.table({"row_id": np.arange(len(timestamps)), "event_timestamp": timestamps})
    pieces = [spine.slice(begin, 7) for begin in range(0, spine.num_rows, 7)]
    plan = config.plan(lambda _: iter(pieces))
    assert plan == config.plan(lambda _: iter([spine]))
    return np.concatenate([plan.parts(piece) for piece in pieces]), plan.boundaries


def test_fractions_in_any_order_of_rows() -> None:
    seconds = np.random.default_rng(0).permutation(100)
    parts, boundaries = assign(column(seconds.tolist()), TimeSplitConfig(validation=0.2, test=0.1))
    np.testing.assert_array_equal(parts, np.where(seconds < 70, 0, np.where(seconds < 90, 1, 2)))
    assert boundaries.validation_from == START + timedelta(seconds=70)
    assert boundaries.test_from == START + timedelta(seconds=90)
    assert (boundaries.first, boundaries.last) == (START, START + timedelta(seconds=99))


def test_a_row_on_a_boundary_belongs_to_the_later_part() -> None:
    config = SPLIT.validate_python(
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
    config = TimeSplitConfig(validation_from=START + timedelta(seconds=10), test_from=START + timedelta(seconds=11))
    assert assign(times, config)[0].tolist() == [0, 0, 1, 2]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=3, max_size=200),
    st.floats(0.05, 0.45),
    st.floats(0.05, 0.45),
)
def test_equal_timestamps_never_straddle_a_boundary(seconds: list[int], validation: float, test: float) -> None:
    try:
        parts, _ = assign(column(seconds), TimeSplitConfig(validation=validation, test=test))
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
        assign(column(seconds), TimeSplitConfig(validation=0.2, test=0.2))
    message = str(caught.value)
    assert f"The {part} part of the split has no rows." in message
    assert f"to {(START + timedelta(seconds=5)).isoformat()}" in message


def test_an_empty_test_part_names_its_boundary() -> None:
    config = TimeSplitConfig(validation_from=START + timedelta(seconds=2), test_from=START + timedelta(days=1))
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
        ({"by": "user", "validation": 0.1, "test": 0.1}, "expected tags: 'time', 'random'"),
    ],
)
def test_refused_configs(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SPLIT.validate_python(fields)


def test_json_round_trip_keeps_the_offset() -> None:
    zone = timezone(timedelta(hours=8))
    config = TimeSplitConfig(
        validation_from=datetime(2022, 5, 6, tzinfo=zone), test_from=datetime(2022, 5, 7, tzinfo=zone)
    )
    assert SPLIT.validate_json(config.model_dump_json()) == config
