"""The point-in-time join through Feast, by its duckdb store and by ours, against one written here row by row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtl_ray.data.feature_store import OURS, FeatureRepo, FeaturesConfig
from tests.tiny_shop import SETTINGS, apply_repo

START = datetime(2026, 3, 28, tzinfo=UTC)
"""The day before the clocks change in Berlin: a day added in local time would be 23 hours."""
TTL = {"user_view": timedelta(days=1), "item_view": timedelta(0), "pair_view": timedelta(seconds=10)}
KEYS = {"user_view": ("user_id",), "item_view": ("item_id",), "pair_view": ("user_id", "item_id")}
FEATURE = {"user_view": "user_value", "item_view": "item_value", "pair_view": "pair_value"}
ZONES = {"user_view": "Asia/Shanghai", "item_view": "UTC", "pair_view": "Europe/Berlin"}
BIG = 2**53
"""Above it a float64 cannot hold every integer."""


@dataclass(frozen=True)
class Row:
    """A row of a source; times in microseconds after START."""

    keys: tuple[int | None, ...]
    event: int
    created: int
    value: int | None


@dataclass(frozen=True)
class Example:
    """A spine row."""

    user: int
    item: int
    time: int


def brute_force(view: str, rows: list[Row], example: Example) -> int | None:
    """The value of the newest row not after the example and not older than ttl; the later created wins a tie."""
    wanted = tuple({"user_id": example.user, "item_id": example.item}[key] for key in KEYS[view])
    ttl = TTL[view] // timedelta(microseconds=1)
    best: Row | None = None
    for row in rows:
        if row.keys != wanted or row.event > example.time:
            continue
        if ttl and example.time - row.event > ttl:
            continue
        if best is None or (row.event, row.created) > (best.event, best.created):
            best = row
    return None if best is None else best.value


def instants(offsets: list[int], zone: str) -> pa.Array:
    times = [START + timedelta(microseconds=offset) for offset in offsets]
    return pa.array(times, pa.timestamp("us", "UTC")).cast(pa.timestamp("us", zone))


def write_source(path: Path, view: str, rows: list[Row]) -> None:
    columns: dict[str, pa.Array] = {
        key: pa.array([row.keys[position] for row in rows], pa.int64()) for position, key in enumerate(KEYS[view])
    }
    columns[FEATURE[view]] = pa.array([row.value for row in rows], pa.int64())
    columns["event_timestamp"] = instants([row.event for row in rows], ZONES[view])
    columns["created_timestamp"] = instants([row.created for row in rows], ZONES[view])
    pq.write_table(pa.table(columns), path)


def spine_table(examples: list[Example], zone: str) -> pa.Table:
    return pa.table(
        {
            "user_id": pa.array([example.user for example in examples], pa.int64()),
            "item_id": pa.array([example.item for example in examples], pa.int64()),
            "event_timestamp": instants([example.time for example in examples], zone),
        }
    )


@dataclass(frozen=True)
class Shop:
    """An applied repo over sources that a test may rewrite."""

    repo: FeatureRepo
    data: Path

    def check(self, sources: dict[str, list[Row]], examples: list[Example], zone: str = "UTC") -> pa.Table:
        """Write the sources, join, and compare every row with the brute force."""
        for view in KEYS:
            write_source(self.data / f"{view}.parquet", view, sources.get(view, []))
        result = self.repo.historical(spine_table(examples, zone))
        assert result["row_id"].to_pylist() == list(range(len(examples)))
        for view in KEYS:
            expected = [brute_force(view, sources.get(view, []), example) for example in examples]
            assert result[FEATURE[view]].type == pa.int64()
            assert result[FEATURE[view]].to_pylist() == expected, view
        return result


@pytest.fixture(scope="module", params=["duckdb", OURS])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    from feast import Entity, FeatureService, FeatureView, Field, FileSource
    from feast.types import Int64
    from feast.value_type import ValueType

    root = tmp_path_factory.mktemp("join")
    entities = {
        "user_id": Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64),
        "item_id": Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64),
    }
    views: list[Any] = []
    for view, keys in KEYS.items():
        write_source(root / f"{view}.parquet", view, [])
        source = FileSource(
            name=f"{view}_source",
            path=str(root / f"{view}.parquet"),
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        )
        views.append(
            FeatureView(
                name=view,
                entities=[entities[key] for key in keys],
                ttl=TTL[view],
                schema=[Field(name=FEATURE[view], dtype=Int64)],
                source=source,
            )
        )
    objects = [*entities.values(), *views, FeatureService(name="joined_v1", features=views)]
    apply_repo(root / "repo", objects, SETTINGS.replace(OURS, request.param))
    return Shop(FeatureRepo(FeaturesConfig(repo=str(root / "repo"), service="joined_v1")), root)


SECOND = 1_000_000
DAY = 86_400 * SECOND

TIMES = st.one_of(
    st.sampled_from([0, 1, SECOND, 10 * SECOND, 10 * SECOND + 1, DAY, DAY + 1, DAY + SECOND]),
    st.integers(0, 2 * DAY),
)
"""Few enough to meet often, with pairs exactly a ttl apart and a microsecond more."""
USERS = st.sampled_from([1, 2, BIG + 1])
ITEMS = st.sampled_from([1, 3, -(BIG + 3)])
VALUES = st.one_of(st.none(), st.integers(BIG, 2**62), st.integers(-5, 5))


@st.composite
def source_rows(draw: st.DrawFn, view: str) -> list[Row]:
    """Rows that are unique in keys, event time and created time: only then is there one right answer."""
    key = {"user_id": USERS, "item_id": ITEMS}
    identity = st.tuples(st.tuples(*(key[name] for name in KEYS[view])), TIMES, TIMES)
    identities = draw(st.lists(identity, max_size=12, unique=True))
    return [Row(keys, event, created, draw(VALUES)) for keys, event, created in identities]


# User 9 and item 9 are in no source; equal rows (a slate, or an impression logged twice) are wanted.
EXAMPLES = st.lists(
    st.builds(Example, st.one_of(USERS, st.just(9)), st.one_of(ITEMS, st.just(9)), TIMES),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    users=source_rows("user_view"),
    items=source_rows("item_view"),
    pairs=source_rows("pair_view"),
    examples=EXAMPLES,
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata"]),
)
def test_equals_brute_force(
    shop: Shop, users: list[Row], items: list[Row], pairs: list[Row], examples: list[Example], zone: str
) -> None:
    shop.check({"user_view": users, "item_view": items, "pair_view": pairs}, examples, zone)


def test_created_timestamp_breaks_ties(shop: Shop) -> None:
    rows = [Row((1,), 5, created, created * 10) for created in (3, 9, 7)]
    result = shop.check({"user_view": rows}, [Example(1, 1, 5)])
    assert result["user_value"].to_pylist() == [90]


def test_exactly_ttl_old_is_kept_and_a_microsecond_older_is_not(shop: Shop) -> None:
    users = [Row((1,), 0, 0, 11)]
    pairs = [Row((1, 1), 0, 0, 22)]
    examples = [Example(1, 1, time) for time in (10 * SECOND, 10 * SECOND + 1, DAY, DAY + 1)]
    result = shop.check({"user_view": users, "pair_view": pairs}, examples)
    assert result["pair_value"].to_pylist() == [22, None, None, None]
    assert result["user_value"].to_pylist() == [11, 11, 11, None]


def test_a_day_is_24_hours_over_a_clock_change(shop: Shop) -> None:
    assert (
        START.astimezone(ZoneInfo("Europe/Berlin")).utcoffset()
        != (START + 2 * timedelta(days=1)).astimezone(ZoneInfo("Europe/Berlin")).utcoffset()
    )
    hour = 3600 * SECOND
    result = shop.check(
        {"user_view": [Row((1,), 12 * hour, 0, 7)]},
        [Example(1, 1, 36 * hour), Example(1, 1, 36 * hour + 1)],
        zone="Europe/Berlin",
    )
    assert result["user_value"].to_pylist() == [7, None]


def test_the_future_is_not_seen(shop: Shop) -> None:
    result = shop.check({"item_view": [Row((1,), 6, 0, 1), Row((1,), 7, 0, 2)]}, [Example(1, 1, 5), Example(1, 1, 6)])
    assert result["item_value"].to_pylist() == [None, 1]


def test_null_keys_of_a_source_match_nothing_and_disturb_nobody(shop: Shop) -> None:
    users = [Row((None,), 0, 0, 1), Row((1,), 0, 0, 2), Row((None,), 3, 0, 3)]
    pairs = [Row((1, None), 4, 0, 4), Row((None, 1), 4, 0, 5), Row((None, None), 4, 0, 6), Row((1, 1), 2, 0, 7)]
    result = shop.check(
        {"user_view": users, "pair_view": pairs}, [Example(1, 1, 5), Example(0, 0, 5), Example(9, 1, 5)]
    )
    assert result["user_value"].to_pylist() == [2, None, None]
    assert result["pair_value"].to_pylist() == [7, None, None]


def test_slates_and_repeated_rows_are_all_kept(shop: Shop) -> None:
    items = [Row((item,), 0, 0, item) for item in (1, 3)]
    slate = [Example(1, item, 5) for item in (1, 3, 9, 1, 1)]
    result = shop.check({"user_view": [Row((1,), 0, 0, 4)], "item_view": items}, slate)
    assert result["item_value"].to_pylist() == [1, 3, None, 1, 1]
    assert result["user_value"].to_pylist() == [4] * 5


def test_integers_above_2_to_53_survive_next_to_misses(shop: Shop) -> None:
    value = 2**60 + 1
    result = shop.check({"user_view": [Row((BIG + 1,), 0, 0, value)]}, [Example(BIG + 1, 1, 5), Example(BIG, 1, 5)])
    assert result["user_value"].to_pylist() == [value, None]


def test_row_ids_of_a_shuffled_spine_are_kept(shop: Shop) -> None:
    write_source(shop.data / "item_view.parquet", "item_view", [Row((item,), 0, 0, item) for item in (1, 3)])
    spine = spine_table([Example(1, item, 5) for item in (3, 1, 9)], "UTC")
    result = shop.repo.historical(spine.append_column("row_id", pa.array([30, 10, 20])))
    assert result["row_id"].to_pylist() == [10, 20, 30]
    assert result["item_value"].to_pylist() == [1, None, 3]
