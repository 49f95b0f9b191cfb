"""What a column holds, and what dates say."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from mtl_ray.scaffold.dates import event_times, parts_of, share_after
from mtl_ray.scaffold.values import Values, read_values


@pytest.mark.parametrize(
    ("array", "kind", "values"),
    [
        (pa.array([True, None]), "truth", [True, None]),
        (pa.array([1, None], pa.uint8()), "integer", [1, None]),
        (pa.array([1.0, float("nan"), 3.0]), "integer", [1, None, 3]),
        (pa.array([1.5, float("inf"), None]), "number", [1.5, None, None]),
        (pa.array([Decimal("1.50"), None]), "number", [1.5, None]),
        (pa.array([2**63], pa.uint64()), "text", [str(2**63)]),
        (pa.array(["a", None]), "text", ["a", None]),
        (pa.array([[1, 2], None], pa.list_(pa.int32())), "list", [[1, 2], None]),
        (pa.array([["a"]], pa.large_list(pa.string())), "list", [["a"]]),
        (pa.array([[0.5]]), "other", [[0.5]]),
        (pa.array([{"a": 1}]), "other", [{"a": 1}]),
        (pa.array([None, None], pa.string()), "empty", [None, None]),
        (pa.array([date(2026, 1, 2)]), "time", [datetime(2026, 1, 2, tzinfo=UTC)]),
        (pa.array([time(1, 30)], pa.time64("us")), "number", [5400.0]),
        (pa.array([timedelta(minutes=1)]), "number", [60.0]),
        (pa.array(["03/14/2026", None]), "time", [datetime(2026, 3, 14, tzinfo=UTC), None]),
        (pa.array(["14.03.2026 10:30"]), "time", [datetime(2026, 3, 14, 10, 30, tzinfo=UTC)]),
        (pa.array(["14.03.2026", "unknown"]), "text", ["14.03.2026", "unknown"]),
        (pa.array(["1st", "2nd"]), "text", ["1st", "2nd"]),
    ],
)
def test_kinds(array: pa.Array, kind: str, values: list[Any]) -> None:
    read = read_values(array)
    assert (read.kind, read.array.to_pylist()) == (kind, [value for value in values if kind != "integer" or value != 0])


def test_a_date_that_could_be_read_in_two_ways_says_so() -> None:
    note = read_values(pa.array(["03/04/2026", "05/06/2026"])).note
    assert note == "dates of the form %m/%d/%Y, taken as UTC (%d/%m/%Y would fit too)"


def test_integers_above_2_to_53_survive_a_float_column() -> None:
    assert read_values(pa.array([2**53 + 1, None])).array.to_pylist() == [2**53 + 1, None]


def test_parts_of_a_date_count_to_the_rows_own_time() -> None:
    born = read_values(pa.array([datetime(2026, 1, 1, 12), None, datetime(2026, 1, 5, 6)]))
    now = pa.array([datetime(2026, 1, 3, tzinfo=UTC)] * 3, pa.timestamp("us", "UTC"))
    parts = {name: values.array.to_pylist() for name, values in parts_of(born, now).items()}
    assert parts == {"age_days": [1.5, None, -2.25], "weekday": ["thursday", None, "monday"], "hour": [12, None, 6]}
    assert share_after(born, now) == 0.5
    assert parts_of(born, None)["age_days"].array.to_pylist() == [3.75, None, 0.0]


@pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
def test_counted_times(scale: int) -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    values = read_values(pa.array([int(moment.timestamp()) * scale]))
    times = event_times(values)
    assert times is not None
    assert times.to_pylist() == [moment]


def test_small_integers_and_text_are_no_times() -> None:
    assert event_times(Values("integer", pa.array([1, 2, 3]))) is None
    assert event_times(Values("text", pa.array(["a"]))) is None
