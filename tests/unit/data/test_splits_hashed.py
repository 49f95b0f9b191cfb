"""Splits by hash: parts have the right size, groups and folds hold, and no cut of the rows changes a part."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy.stats import chi2_contingency

from mtl_ray.data.splits import PARTS, SplitConfig, SplitPlan
from mtl_ray.data.splits.hashing import hashes, stream_key, uniform
from mtl_ray.data.splits.stratified import MOST_STRATA, apportioned
from mtl_ray.errors import DataError

SPLIT: TypeAdapter[Any] = TypeAdapter(SplitConfig)
FRACTIONS = {"validation": 0.2, "test": 0.1}
GROUP: dict[str, Any] = {"by": "group", "column": "user", **FRACTIONS}


def spine(rows: int, **columns: Any) -> pa.Table:
    times = pa.array(1_700_000_000_000_000 + 1_000_000 * np.arange(rows), pa.timestamp("us", "UTC"))
    return pa.table({"row_id": np.arange(rows), "event_timestamp": times, **columns})


def bucketed(table: pa.Table, cuts: Sequence[int]) -> Callable[[Sequence[str]], Iterator[pa.Table]]:
    """A scan that streams `table` in pieces that end at `cuts`, some of them without rows."""
    edges = [0, *sorted(cuts), table.num_rows]

    def scan(columns: Sequence[str]) -> Iterator[pa.Table]:
        chosen = table.select(["row_id", "event_timestamp", *columns])
        return (chosen.slice(begin, end - begin) for begin, end in pairwise(edges))

    return scan


def planned(table: pa.Table, cuts: Sequence[int] = (), **fields: Any) -> SplitPlan:
    plan: SplitPlan = SPLIT.validate_python(fields).plan(bucketed(table, cuts))
    return plan


def parts_of(table: pa.Table, cuts: Sequence[int] = (), **fields: Any) -> np.ndarray:
    parts = planned(table, cuts, **fields).parts(table)
    assert parts.dtype == np.int8
    assert parts.shape == (table.num_rows,)
    return parts


def counts_of(parts: np.ndarray) -> list[int]:
    counts: list[int] = np.bincount(parts, minlength=len(PARTS)).tolist()
    return counts


fractions = st.floats(0.02, 0.49)
seeds = st.integers(0, 2**63 - 1)
KINDS: list[dict[str, Any]] = [
    {"by": "random", **FRACTIONS},
    {"by": "stratified", "column": "label", **FRACTIONS},
    {"by": "group", "column": "user", **FRACTIONS},
    {"by": "group", "column": "country", **FRACTIONS},
    {"by": "k_fold", "folds": 4, "fold": 3},
    {"by": "k_fold", "folds": 3, "fold": 1, "column": "user"},
]


def mixed(rows: int, seed: int) -> pa.Table:
    draw = np.random.default_rng(seed)
    label = [None if value == 2 else value for value in draw.integers(0, 3, rows).tolist()]
    country = [f"land{value}é" for value in draw.integers(0, 9, rows)]
    return spine(rows, user=draw.integers(-5, 12, rows), label=pa.array(label, pa.int8()), country=country)


@pytest.mark.parametrize("fields", KINDS, ids=lambda fields: f"{fields['by']}-{fields.get('column')}")
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_no_cut_and_no_order_of_the_rows_changes_a_part(fields: dict[str, Any], data: st.DataObject) -> None:
    rows = data.draw(st.integers(60, 200))
    table = mixed(rows, data.draw(st.integers(0, 50)))
    seed = data.draw(seeds)
    cuts = data.draw(st.lists(st.integers(0, rows), max_size=8))
    whole = planned(table, seed=seed, **fields)
    cut = planned(table, cuts, seed=seed, **fields)
    expected = whole.parts(table)
    order = np.random.default_rng(rows).permutation(rows)
    assert cut.boundaries == whole.boundaries
    np.testing.assert_array_equal(cut.parts(table), expected)
    np.testing.assert_array_equal(cut.parts(table.take(order)), expected[order])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(cut)).parts(table.slice(7, 20)), expected[7:27])
    assert cut.parts(table.slice(0, 0)).size == 0
    assert set(expected.tolist()) == {0, 1, 2}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), fractions, fractions, seeds)
def test_random_parts_have_their_exact_size(rows: int, validation: float, test: float, seed: int) -> None:
    expected = [rows - round(rows * validation) - round(rows * test), round(rows * validation), round(rows * test)]
    assume(min(expected) > 0)
    parts = parts_of(spine(rows), by="random", validation=validation, test=test, seed=seed)
    assert counts_of(parts) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=30, max_size=300), fractions, fractions, seeds)
def test_each_stratum_has_its_fractions(values: list[str | None], validation: float, test: float, seed: int) -> None:
    table = spine(len(values), kind=pa.array(values, pa.string()))
    try:
        parts = parts_of(table, by="stratified", column="kind", validation=validation, test=test, seed=seed)
    except DataError:
        assert round(len(values) * min(validation, test)) <= 3
        return
    for value in set(values):
        found = counts_of(parts[np.array([other == value for other in values])])
        for count, fraction in zip(found, (1 - validation - test, validation, test), strict=True):
            assert abs(count - values.count(value) * fraction) < 1 + 1e-6
    for count, fraction in zip(counts_of(parts), (1 - validation - test, validation, test), strict=True):
        assert abs(count - len(values) * fraction) < 3


def test_many_small_strata_do_not_all_round_the_same_way() -> None:
    counts = apportioned([4] * 1000, (0.8, 0.1, 0.1))
    assert set(counts[:, 2].tolist()) == {0, 1}
    np.testing.assert_allclose(counts.sum(axis=0), [3200, 400, 400], atol=1)
    np.testing.assert_array_equal(counts.sum(axis=1), 4)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([True, False, None, True] * 25),
        pa.array([1.0, float("nan"), None, -0.0] * 25),
        pa.array(["x", "y", None, "x"] * 25).dictionary_encode(),
        pa.array([datetime(2026, 1, 1, tzinfo=UTC), None, None, None] * 25, pa.timestamp("us", "UTC")),
        pa.nulls(100),
    ],
    ids=["boolean", "float", "dictionary", "timestamp", "nulls alone"],
)
def test_a_stratum_may_be_of_any_plain_type(column: pa.Array) -> None:
    parts = parts_of(spine(100, kind=column), by="stratified", column="kind", validation=0.2, test=0.2)
    assert counts_of(parts) == [60, 20, 20]


def test_nan_and_null_are_one_stratum() -> None:
    column = pa.array([float("nan"), None] * 5 + [1.0] * 10, from_pandas=False)
    parts = parts_of(spine(20, kind=column), by="stratified", column="kind", validation=0.1, test=0.1)
    assert counts_of(parts[:10]) == [8, 1, 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=30, max_size=300), fractions, fractions, seeds, st.booleans())
def test_a_group_is_in_one_part_and_parts_are_within_one_group(
    users: list[int], validation: float, test: float, seed: int, text: bool
) -> None:
    sizes = np.bincount(users)
    assume((sizes > 0).sum() >= 3)
    column: list[Any] = [f"user-{user}" for user in users] if text else users
    fields = {"by": "group", "column": "user", "validation": validation, "test": test, "seed": seed}
    parts = parts_of(spine(len(users), user=column), **fields)
    part_of: dict[int, set[int]] = {}
    for user, part in zip(users, parts.tolist(), strict=True):
        part_of.setdefault(user, set()).add(part)
    assert all(len(found) == 1 for found in part_of.values())
    found = counts_of(parts)
    assert min(found) > 0
    # A part may need a whole group to have any row at all.
    assert abs(found[2] - len(users) * test) <= sizes.max()
    assert abs(found[1] + found[2] - len(users) * (validation + test)) <= 2 * sizes.max()


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 12), st.integers(12, 200), seeds, st.booleans(), st.data())
def test_over_all_folds_every_row_tests_and_validates_once(
    folds: int, rows: int, seed: int, grouped: bool, data: st.DataObject
) -> None:
    users = data.draw(st.lists(st.integers(0, 50), min_size=rows, max_size=rows))
    assume(not grouped or len(set(users)) >= folds)
    table = spine(rows, user=users)
    fields: dict[str, Any] = {"by": "k_fold", "folds": folds, "seed": seed, "column": "user" if grouped else None}
    parts = np.stack([parts_of(table, fold=fold, **fields) for fold in range(folds)])
    np.testing.assert_array_equal((parts == 2).sum(axis=0), 1)
    np.testing.assert_array_equal((parts == 1).sum(axis=0), 1)
    np.testing.assert_array_equal(parts == 1, np.roll(parts == 2, -1, axis=0))
    if not grouped:
        assert np.ptp((parts == 2).sum(axis=1)) <= 1
        return
    for user in set(users):
        assert (np.ptp(parts[:, np.array(users) == user], axis=1) == 0).all()


def test_another_seed_draws_anew_and_regardless_of_order() -> None:
    table = spine(4000)
    draws = [parts_of(table, by="random", seed=seed, **FRACTIONS) for seed in (0, 1)]
    joint = np.histogram2d(*draws, bins=[3, 3])[0]
    assert chi2_contingency(joint).pvalue > 1e-4
    by_place = np.histogram2d(np.arange(4000) // 500, draws[0], bins=[8, 3])[0]
    assert chi2_contingency(by_place).pvalue > 1e-4


def test_hashes_are_those_of_splitmix64() -> None:
    # First outputs of the generator with seed 1234567, as published with its reference implementation.
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert hashes(np.arange(5), 1234567).tolist() == known


def test_draws_are_uniform_and_streams_independent() -> None:
    first = uniform(np.arange(100_000), stream_key("split", 0))
    second = uniform(np.arange(100_000), stream_key("negative_sampling", 0))
    assert first.min() >= 0.0
    assert first.max() < 1.0
    np.testing.assert_allclose(np.histogram(first, bins=10, range=(0, 1))[0], 10_000, atol=500)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02


RANDOM = [0, 0, 1, 1, 0, 0, 2, 0, 0, 0, 0, 0]
TEXT_GROUP = [0, 2, 1, 0, 0, 0, 2, 1, 0, 0, 0, 2]
INTEGER_GROUP = [0, 0, 0, 1, 2, 0, 0, 0, 1, 2, 0, 0]


def test_membership_does_not_change_from_version_to_version() -> None:
    table = spine(12, user=[f"u{row % 5}" for row in range(12)], item=[row % 5 - 2 for row in range(12)])
    assert parts_of(table, by="random", seed=7, **FRACTIONS).tolist() == RANDOM
    assert parts_of(table, by="group", column="user", seed=7, **FRACTIONS).tolist() == TEXT_GROUP
    assert parts_of(table, by="group", column="item", seed=7, **FRACTIONS).tolist() == INTEGER_GROUP


def test_integer_types_of_one_value_are_one_group() -> None:
    users = np.arange(60) % 7
    wide = parts_of(spine(60, user=users), by="group", column="user", **FRACTIONS)
    narrow = parts_of(spine(60, user=users.astype(np.uint8)), by="group", column="user", **FRACTIONS)
    np.testing.assert_array_equal(wide, narrow)


def test_boundaries_are_the_range_of_the_times_alone() -> None:
    boundaries = planned(spine(100), by="random", **FRACTIONS).boundaries
    assert (boundaries.last - boundaries.first).total_seconds() == 99
    assert boundaries.validation_from is boundaries.test_from is None


def refused(table: pa.Table, **fields: Any) -> str:
    with pytest.raises(DataError) as caught:
        planned(table, [table.num_rows // 2], **fields)
    return str(caught.value)


@pytest.mark.parametrize("by", ["random", "stratified", "group", "k_fold", "time"])
def test_a_spine_without_rows_is_refused(by: str) -> None:
    fields: dict[str, Any] = {"folds": 3, "fold": 0} if by == "k_fold" else FRACTIONS
    if by in ("stratified", "group"):
        fields = {**fields, "column": "user"}
    assert "The spine has no rows." in refused(spine(0, user=pa.array([], pa.int64())), by=by, **fields)


def test_a_column_that_the_spine_lacks() -> None:
    table = spine(20, user_id=[1] * 20)
    with pytest.raises(DataError) as caught:
        SPLIT.validate_python({"by": "group", "column": "user_idd", **FRACTIONS}).plan(lambda _: iter([table]))
    message = str(caught.value)
    assert "The spine has no column 'user_idd' to split by." in message
    assert "training_set.split.column" in message
    assert "did you mean 'user_id'?" in message


def test_a_part_without_rows_is_named() -> None:
    message = refused(spine(4), by="random", validation=0.5, test=0.1)
    assert "The test part of the split has no rows." in message
    assert "4 rows, cut at random into validation 0.5 and test 0.1" in message
    message = refused(spine(3, kind=["a"] * 3), by="stratified", column="kind", validation=0.1, test=0.1)
    assert "has no rows" in message


def test_a_group_column_with_nulls_names_the_rows() -> None:
    message = refused(spine(20, user=pa.array([None if row in (13, 17) else row for row in range(20)])), **GROUP)
    assert "The group column 'user' is null in 2 or more rows." in message
    assert "spine rows 13, 17" in message


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1.5] * 20), "neither an integer nor text"),
        (pa.array([[1]] * 20), "neither an integer nor text"),
        (pa.array([1, 2] * 10), "too few values to split by"),
    ],
)
def test_columns_that_cannot_group(column: pa.Array, message: str) -> None:
    assert message in refused(spine(20, user=column), **GROUP)


def test_more_folds_than_rows_or_groups() -> None:
    assert "fewer rows than the split has folds" in refused(spine(4), by="k_fold", folds=5, fold=0)
    message = refused(spine(20, user=[1, 2, 3, 4] * 5), by="k_fold", folds=5, fold=0, column="user")
    assert "4 different values" in message
    assert "at least 5" in message


def test_columns_that_cannot_stratify() -> None:
    message = refused(spine(20, tags=[[1]] * 20), by="stratified", column="tags", **FRACTIONS)
    assert "type list<" in message
    rows = 2 * MOST_STRATA + 2
    message = refused(spine(rows, item=np.arange(rows)), by="stratified", column="item", **FRACTIONS)
    assert "too many values to stratify by" in message
    assert "by: group" in message


def test_a_value_that_was_not_planned_is_refused() -> None:
    plan = planned(spine(20, kind=["a", "b"] * 10), by="stratified", column="kind", **FRACTIONS)
    with pytest.raises(DataError, match="did not hold when the split was planned"):
        plan.parts(spine(2, kind=["a", "c"]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"by": "random", "validation": 0.5, "test": 0.5}, "leave nothing to train on"),
        ({"by": "random", "validation": 0.5}, "Field required"),
        ({"by": "random", "seed": -1, **FRACTIONS}, "greater than or equal to 0"),
        ({"by": "random", "column": "user", **FRACTIONS}, "Extra inputs are not permitted"),
        ({"by": "stratified", **FRACTIONS}, "Field required"),
        ({"by": "group", **FRACTIONS}, "Field required"),
        ({"by": "k_fold", "folds": 2, "fold": 0}, "greater than or equal to 3"),
        ({"by": "k_fold", "folds": 5, "fold": 5}, "between 0 and folds - 1 = 4, found 5"),
    ],
)
def test_refused_configs(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SPLIT.validate_python(fields)


@pytest.mark.parametrize("fields", KINDS)
def test_json_round_trip(fields: dict[str, Any]) -> None:
    config = SPLIT.validate_python(fields)
    assert SPLIT.validate_json(config.model_dump_json()) == config
    assert config.columns == ((fields["column"],) if "column" in fields else ())
