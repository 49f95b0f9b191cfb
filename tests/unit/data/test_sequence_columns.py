"""Sequences: lists and times whose entries belong together, entry by entry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_ray.data.packing import unpacked
from mtl_ray.data.preprocessing import Preprocessing, PreprocessingConfig, fit
from mtl_ray.data.preprocessing_state import PreprocessingState
from mtl_ray.data.sequences import check_length_names, check_sequence_tags, truncation_notes
from mtl_ray.data.service_spec import Encoding, FeatureSpec
from mtl_ray.data.vocabulary_growth import grow
from mtl_ray.errors import ConfigError, DataError, FeatureStoreError
from mtl_ray.schema import MISSING_ID

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIMES = pa.list_(pa.timestamp("us", "UTC"))


def spec(name: str, encoding: Encoding, sequence: str | None = "recent") -> FeatureSpec:
    vocabulary = name if encoding == "list" else None
    return FeatureSpec(
        name=name, source="view", view="users", encoding=encoding, vocabulary=vocabulary, sequence=sequence
    )


FEATURES = (spec("items", "list"), spec("shops", "list"), spec("times", "times"))


def ago(*seconds: float) -> list[datetime]:
    return [NOW - timedelta(seconds=value) for value in seconds]


def rows(items: list[Any], shops: list[Any], times: list[Any], kind: pa.DataType = TIMES) -> pa.Table:
    return pa.table(
        {
            "items": pa.array(items, pa.list_(pa.int64())),
            "shops": pa.array(shops, pa.list_(pa.string())),
            "times": pa.array(times, kind),
            "event_timestamp": pa.array([NOW] * len(items), pa.timestamp("us", "UTC")),
            "row_id": pa.array([100 + row for row in range(len(items))]),
        }
    )


def fitted(table: pa.Table, **config: Any) -> Preprocessing:
    return fit(PreprocessingConfig(**config), FEATURES, table)


def ages(table: pa.Table, preprocessing: Preprocessing | None = None) -> list[list[float]]:
    encoded = (preprocessing or fitted(table, list_max_length=3)).encode(table)
    found: list[list[float]] = unpacked(encoded["age_times"]).tolist()
    return found


def test_ages_stand_under_their_entries_newest_last() -> None:
    table = rows(
        [[1, 2, 3, 4], [2], None, []], [["a", "b", "c", "d"], ["b"], [], None], [ago(90, 60, 30, 0), ago(5), None, []]
    )
    preprocessing = fitted(table, list_max_length=3)
    encoded = preprocessing.encode(table)
    assert encoded.column_names == ["list_items", "list_shops", "age_times"]
    assert ages(table, preprocessing) == [[60, 30, 0], [0, 0, 5], [0, 0, 0], [0, 0, 0]]
    filled = unpacked(encoded["list_items"]) != MISSING_ID
    np.testing.assert_array_equal(filled, unpacked(encoded["list_shops"]) != MISSING_ID)
    assert filled.tolist() == [[True, True, True], [False, False, True], [False] * 3, [False] * 3]
    schema = preprocessing.batch_schema(["click"])
    assert [(item.name, item.sequence, item.max_length) for item in schema.lists] == [
        ("items", "recent", 3),
        ("shops", "recent", 3),
    ]
    assert [(item.name, item.sequence, item.max_length) for item in schema.ages] == [("times", "recent", 3)]
    assert preprocessing.missing == {"items": 0.5, "shops": 0.5, "times": 0.5}
    assert preprocessing.columns == ("items", "shops", "times", "event_timestamp")
    assert Preprocessing.model_validate_json(preprocessing.model_dump_json()) == preprocessing


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.timestamp("us", "UTC")),
        pa.list_(pa.timestamp("ms")),
        pa.large_list(pa.timestamp("ns", "Asia/Shanghai")),
        pa.list_(pa.timestamp("s", "UTC")),
    ],
)
def test_types_of_times(kind: pa.DataType) -> None:
    table = rows([[1, 2]], [["a", "b"]], [ago(100, 7)])
    times = table["times"].cast(pa.list_(pa.timestamp("us"))).cast(kind)
    assert ages(table.set_column(2, "times", times)) == [[0, 100, 7]]


def test_seconds_since_1970_are_times_too() -> None:
    second = int(NOW.timestamp())
    assert ages(rows([[1, 2]], [["a", "b"]], [[second - 100, second]], pa.list_(pa.int64()))) == [[0, 100, 0]]
    with pytest.raises(DataError, match=r"no number of seconds[\s\S]*spine row 100[\s\S]*seconds, not milli"):
        ages(rows([[1]], [["a"]], [[2**62]], pa.list_(pa.int64())))


def test_times_count_in_whole_seconds_as_online_stores_keep_them() -> None:
    # The entry happened 0.25 s before the row, which Feast's online stores have as the second that it lies in.
    table = rows([[1]], [["a"]], [ago(0.25)])
    assert ages(table) == [[0, 0, 1]]
    later = table.set_column(3, "event_timestamp", pa.array([NOW + timedelta(seconds=0.5)], pa.timestamp("us", "UTC")))
    assert ages(later) == [[0, 0, 1.5]]


def test_a_null_id_keeps_its_place() -> None:
    table = rows([[5, None, 5]], [["a", "b", None]], [ago(3, 2, 1)])
    encoded = fitted(table, list_max_length=4).encode(table)
    assert (unpacked(encoded["list_items"]) != MISSING_ID).tolist() == [[False, True, False, True]]
    assert (unpacked(encoded["list_shops"]) != MISSING_ID).tolist() == [[False, True, True, False]]
    assert unpacked(encoded["age_times"]).tolist() == [[0, 3, 2, 1]]


def test_an_entry_from_after_the_row_is_a_leak() -> None:
    table = rows([[1], [1, 2]], [["a"], ["a", "b"]], [ago(0), ago(5, -0.000001)])
    expected = (
        r"the future leaks[\s\S]*spine row 101, feature times[\s\S]*2026-03-01T12:00:00.000001Z in a row of "
        r"2026-03-01T12:00:00.000000Z"
    )
    preprocessing = fitted(table, list_max_length=3)
    with pytest.raises(DataError, match=expected):
        preprocessing.encode(table)
    admitted = preprocessing.encode(table, admit_future=True)
    assert unpacked(admitted["age_times"]).tolist() == [[0, 0, 0], [0, 5, 0]]


@pytest.mark.parametrize(
    ("items", "shops", "times", "message"),
    [
        ([[1], [1, 2]], [["a"], ["a"]], [ago(1), ago(2, 1)], r"items and shops\n[\s\S]*items: 2 entries, shops: 1"),
        ([[1], [1]], [["a"], ["a"]], [ago(1), None], r"items and times\n[\s\S]*items: 1 entries, times: 0 entries"),
        ([[1], None], [["a"], []], [ago(1), ago(1)], r"items: 0 entries, times: 1 entries"),
    ],
)
def test_columns_of_other_lengths_are_refused(
    items: list[Any], shops: list[Any], times: list[Any], message: str
) -> None:
    table = rows(items, shops, times)
    with pytest.raises(
        DataError, match=r"sequence 'recent' have different lengths[\s\S]*spine row 101[\s\S]*" + message
    ):
        fitted(table).encode(table)


def test_times_that_are_none_are_refused() -> None:
    missing = rows([[1, 2]], [["a", "b"]], [[NOW, None]])
    with pytest.raises(DataError, match=r"without a time[\s\S]*spine row 100"):
        ages(missing)
    text = rows([[1]], [["a"]], [["noon"]], pa.list_(pa.string()))
    with pytest.raises(DataError, match=r"hold no times[\s\S]*list of string[\s\S]*seconds since 1970"):
        ages(text)
    table = rows([[1]], [["a"]], [ago(1)])
    with pytest.raises(DataError, match=r"'event_timestamp' is absent"):
        fitted(table).encode(table.drop_columns(["event_timestamp"]))
    with pytest.raises(DataError, match=r"need an event_timestamp[\s\S]*1 nulls"):
        fitted(table).encode(table.set_column(3, "event_timestamp", pa.nulls(1, pa.timestamp("us", "UTC"))))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(0, 10**6), max_size=6), min_size=1, max_size=8),
    st.integers(1, 5),
    st.integers(0, 7),
)
def test_encoding_equals_the_rule_said_row_by_row(seconds: list[list[int]], length: int, cut: int) -> None:
    table = rows(
        [[value % 7 for value in row] for row in seconds],
        [[str(value % 3) for value in row] for row in seconds],
        [ago(*row) for row in seconds],
    )
    config = PreprocessingConfig(list_max_lengths={"recent": length})
    parts = [table.slice(0, cut), table.slice(cut)]
    states = [PreprocessingState.of(config, FEATURES, part) for part in parts]
    preprocessing = PreprocessingState.merged(states).finish()
    assert preprocessing == fit(config, FEATURES, table)
    encoded = pa.concat_tables([preprocessing.encode(part) for part in parts])
    items = preprocessing.vocabularies["items"].values
    for row, (found, ids) in enumerate(
        zip(unpacked(encoded["age_times"]).tolist(), unpacked(encoded["list_items"]).tolist(), strict=True)
    ):
        kept = seconds[row][-length:]
        assert found == [0] * (length - len(kept)) + kept
        assert ids == [0] * (length - len(kept)) + [items.index(value % 7) + 2 for value in kept]
    too_long = sum(len(row) > length for row in seconds)
    assert preprocessing.truncated == {"items": too_long, "shops": too_long}


# lengths


def test_a_list_and_a_sequence_can_have_lengths_of_their_own() -> None:
    features = (*FEATURES, spec("tags", "list", None))
    table = rows([[1, 2, 3]], [["a", "b", "c"]], [ago(3, 2, 1)]).append_column("tags", pa.array([[1, 2, 3]]))
    config = PreprocessingConfig(list_max_length=9, list_max_lengths={"recent": 2, "tags": 1})
    preprocessing = fit(config, features, table)
    lengths = {item.name: item.max_length for item in (*preprocessing.lists, *preprocessing.ages)}
    assert lengths == {"items": 2, "shops": 2, "times": 2, "tags": 1}
    check_length_names(config.list_max_lengths, features)
    with pytest.raises(ConfigError, match=r"found:\s+recnt[\s\S]*recent, tags[\s\S]*did you mean recent\?"):
        check_length_names(["recnt"], features)
    with pytest.raises(ConfigError, match=r"shops, a column of the sequence recent[\s\S]*did you mean recent\?"):
        check_length_names(["shops"], features)


def test_cut_rows_are_told_once_a_sequence() -> None:
    table = rows([[1, 2], [1]], [["a", "b"], ["a"]], [ago(2, 1), ago(1)])
    preprocessing = fitted(table, list_max_length=1)
    assert preprocessing.truncated == {"items": 1, "shops": 1}
    assert truncation_notes(preprocessing.lists, preprocessing.truncated, 183_000) == [
        "recent: 1 of 183,000 rows had more than 1 entries; the newest 1 are kept"
    ]
    assert truncation_notes(preprocessing.lists, {"items": 0, "shops": 0}, 9) == []


def test_appended_rows_keep_the_lengths() -> None:
    table = rows([[1, 2]], [["a", "b"]], [ago(2, 1)])
    config = PreprocessingConfig(list_max_length=2)
    preprocessing = fit(config, FEATURES, table)
    new = rows([[9, 8]], [["a", "b"]], [ago(2, 1)])
    after, growth = grow(preprocessing, PreprocessingState.of(config, FEATURES, new), config)
    assert (after.lists, after.ages) == (preprocessing.lists, preprocessing.ages)
    assert growth["items"].new_size == 6
    other = PreprocessingConfig(list_max_lengths={"recent": 1})
    with pytest.raises(DataError, match=r"times: the last 1 times of sequence recent[\s\S]*the last 2 times"):
        grow(preprocessing, PreprocessingState.of(other, FEATURES, new), other)


# tags


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([spec("items", "list"), spec("times", "times", None)], "times 'times' belong to no sequence"),
        ([spec("items", "list", None), spec("times", "times")], "sequence 'recent' has times but no list"),
        ([*FEATURES, spec("more", "times")], r"has times more than once[\s\S]*times, more"),
    ],
)
def test_tags_that_make_no_sequence(features: list[FeatureSpec], message: str) -> None:
    with pytest.raises(FeatureStoreError, match=message):
        check_sequence_tags(features)


def test_a_list_needs_no_sequence_and_a_sequence_no_times() -> None:
    check_sequence_tags([spec("alone", "list", None), *FEATURES[:2]])
