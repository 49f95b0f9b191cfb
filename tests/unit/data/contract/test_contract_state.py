"""States of buckets together are the state of all rows, however the rows are cut, in memory and on disk."""

from __future__ import annotations

import math
from collections import defaultdict
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_ray.data.contract import ContractConfig, ContractState, summarise
from mtl_ray.data.contract.exact_sum import exact_sums, from_exact
from mtl_ray.data.contract.state import Key
from mtl_ray.data.labels import encode_labels
from tests.unit.data.contract.joined_shop import DAY, SPEC, START, TASKS, Bucket, bucket

ROWS = 240
WHOLE = bucket(ROWS, seed=3)


def assert_equal(state: ContractState, expected: ContractState) -> None:
    assert state.counts == expected.counts
    assert set(state.distributions) == set(expected.distributions)
    for key, distribution in expected.distributions.items():
        assert state.distributions[key].to_arrow().equals(distribution.to_arrow(), check_metadata=True), key


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, ROWS), max_size=6))
def test_merged_buckets_are_the_whole(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), ROWS]
    states = [WHOLE.slice(begin, end).state() for begin, end in pairwise(ends)]
    assert_equal(ContractState.merged(states), WHOLE.state())
    assert summarise(states, SPEC, TASKS, ContractConfig()) == WHOLE.result()


def test_order_of_the_rows_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(ROWS)
    shuffled = Bucket(WHOLE.table.take(pa.array(order)), WHOLE.parts[order])
    assert_equal(shuffled.state(), WHOLE.state())


def test_state_comes_back_from_its_files(tmp_path: Path) -> None:
    halves = [WHOLE.slice(0, 100).state(), WHOLE.slice(100, ROWS).state()]
    for number, half in enumerate(halves):
        half.write(tmp_path / str(number))
    stored = [ContractState.read(tmp_path / str(number)) for number in range(2)]
    for read, half in zip(stored, halves, strict=True):
        assert_equal(read, half)
    assert_equal(ContractState.merged(stored), WHOLE.state())
    assert summarise(stored, SPEC, TASKS, ContractConfig()) == WHOLE.result()


def test_counts_equal_the_rows_themselves(shop: Bucket) -> None:
    state, result = shop.state(), shop.result()
    table = shop.table.to_pydict()
    in_part = {
        part: np.flatnonzero(shop.parts == number) for number, part in enumerate(("train", "validation", "test"))
    }
    assert result.rows == {part: rows.size for part, rows in in_part.items()}
    features = {feature.name: feature for feature in result.features}
    for part, rows in in_part.items():
        absent = {name: [not table[name][row] and table[name][row] != 0 for row in rows] for name in features}
        for name, feature in features.items():
            assert feature.missing[part] == pytest.approx(np.mean(absent[name])), name
    ages = [value for value in table["age"] if value is not None]
    assert (features["age"].minimum, features["age"].maximum) == (min(ages), max(ages))
    assert features["country"].minimum is None
    users = next(view for view in result.views if view.name == "users")
    matched = [at is not None for at in table["users__feature_timestamp"]]
    seconds = [
        (time - at).total_seconds()
        for time, at in zip(table["event_timestamp"], table["users__feature_timestamp"], strict=True)
        if at is not None
    ]
    assert users.matched == np.mean(matched)
    assert users.empty == np.mean(
        [not (a or b or c) for a, b, c in zip(table["age"], table["country"], table["recent"], strict=True)]
    )
    assert users.age_median == pytest.approx(np.median(seconds), rel=1e-12)
    assert users.age_p99 == pytest.approx(np.quantile(seconds, 0.99), rel=1e-12)
    assert (users.age_min, users.age_max) == (min(seconds), max(seconds))
    assert state.distributions[Key("recent", "train")].total == sum(
        len(table["recent"][row] or ()) for row in in_part["train"]
    )


def test_label_rates_of_every_day(shop: Bucket) -> None:
    result = shop.result()
    labels = encode_labels(shop.table, TASKS)
    days = defaultdict(list)
    for row, time in enumerate(shop.table["event_timestamp"].to_pylist()):
        days[time.date()].append(row)
    assert result.days == tuple(sorted(days))
    for at, day in enumerate(result.days):
        rows = days[day]
        for part, number in (("train", 0), ("validation", 1), ("test", 2)):
            assert result.rows_by_day[part][at] == np.count_nonzero(shop.parts[rows] == number)
        for position, task in enumerate(TASKS):
            seen = [row for row in rows if labels.observed[row, position]]
            values = labels.values[seen, position].astype(np.float64)
            found = result.tasks[task]
            assert found.observed[at] == len(seen)
            if task == "rating":
                shares = found.shares[at]
                assert shares is not None
                assert shares == pytest.approx([np.mean(values == 0), np.mean(values == 1)])
                assert found.mean[at] is None
            else:
                assert found.mean[at] == math.fsum(values) / len(seen) if seen else found.mean[at] is None


def test_rows_before_1970_have_their_own_day(shop: Bucket) -> None:
    early = shop.slice(0, 1).with_columns(event_timestamp=pa.array([-1], pa.int64()).cast(pa.timestamp("us", "UTC")))
    assert early.result().days[0].isoformat() == "1969-12-31"


@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=40),
    groups=st.data(),
)
def test_sums_are_exact(values: list[float], groups: st.DataObject) -> None:
    at = groups.draw(st.lists(st.integers(0, 2), min_size=len(values), max_size=len(values)))
    array = np.array(values, dtype=np.float32)
    found = exact_sums(array, np.array(at, dtype=np.int64), 3)
    for group in range(3):
        exact = sum((Fraction(value) for value, own in zip(values, at, strict=True) if own == group), Fraction(0))
        assert from_exact(found[group], 7) == float(exact / 7)


def test_join_that_tells_no_times(shop: Bucket) -> None:
    silent = Bucket(shop.table.drop_columns(["users__feature_timestamp", "items__feature_timestamp"]), shop.parts)
    users = silent.result().views[0]
    assert (users.matched, users.age_median, users.age_max) == (None, None, None)
    assert users.empty == shop.result().views[0].empty
    assert START % DAY == 0
