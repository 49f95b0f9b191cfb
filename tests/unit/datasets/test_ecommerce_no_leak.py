"""Every aggregate is recomputed, event by event in plain Python, from what happened before its timestamp alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mtl_ray.datasets.ecommerce.calendar import DAY
from mtl_ray.datasets.ecommerce.funnel import NEVER
from mtl_ray.datasets.ecommerce.population import CATEGORIES
from mtl_ray.datasets.ecommerce.simulation import Shop

KINDS = ("impression", "click", "cart", "purchase", "rating")


@dataclass(frozen=True)
class Event:
    kind: str
    time: int
    user_id: int
    item_id: int
    category: str
    order_value: float
    rating: float


@pytest.fixture(scope="module")
def events(shop: Shop) -> list[Event]:
    """The log of the shop in the order of time."""

    def log() -> Iterator[Event]:
        seen, done = shop.impressions, shop.outcomes
        for row in range(len(seen)):
            item = int(seen.item[row])
            times = (seen.timestamp, done.click_time, done.cart_time, done.purchase_time, done.rating_time)
            for kind, time in zip(KINDS, times, strict=True):
                if time[row] != NEVER:
                    yield Event(
                        kind,
                        int(time[row]),
                        int(seen.user[row]) + 1,
                        item + 1,
                        CATEGORIES[shop.items.category[item]],
                        float(done.order_value[row]),
                        float(done.rating[row]),
                    )

    return sorted(log(), key=lambda event: event.time)


def _rows(folder: Path, table: str, count: int) -> list[dict[str, object]]:
    """`count` rows of a feature table, spread over it, with `now` in microseconds."""
    frame = pq.read_table(folder / "features" / f"{table}.parquet").to_pandas()
    frame["now"] = frame["event_timestamp"].astype("int64")
    chosen = np.random.default_rng(0).choice(len(frame), min(count, len(frame)), replace=False)
    return frame.iloc[np.sort(chosen)].to_dict("records")


def _count(past: list[Event], kind: str, since: float = -math.inf) -> int:
    return sum(event.kind == kind and event.time >= since for event in past)


def _smoothed(past: list[Event], everyone: list[Event], event: str, base: str, strength: float, since: float) -> float:
    prior = _count(everyone, event) / max(_count(everyone, base), 1)
    return (_count(past, event, since) + strength * prior) / (_count(past, base, since) + strength)


def _same(found: object, expected: float | None) -> bool:
    if expected is None or found is None:
        return expected is None and (found is None or math.isnan(float(str(found))))
    return math.isclose(float(str(found)), expected, rel_tol=1e-9, abs_tol=1e-9)


def test_user_aggregates_come_from_strictly_earlier_events(ecommerce: Path, events: list[Event]) -> None:
    with_clicks = 0
    for row in _rows(ecommerce, "user_daily", 120):
        now = int(str(row["now"]))
        everyone = [event for event in events if event.time < now]
        past = [event for event in everyone if event.user_id == row["user_id"]]
        week, month = now - 7 * DAY, now - 30 * DAY
        for kind in ("impression", "click"):
            assert row[f"user_{kind}s_7d"] == _count(past, kind, week)
        for kind in ("impression", "click", "cart", "purchase"):
            assert row[f"user_{kind}s_30d"] == _count(past, kind, month)
        assert _same(row["user_ctr_30d"], _smoothed(past, everyone, "click", "impression", 10, month))
        assert _same(row["user_cart_rate_30d"], _smoothed(past, everyone, "cart", "click", 5, month))
        assert _same(row["user_conversion_30d"], _smoothed(past, everyone, "purchase", "cart", 3, month))
        orders = [event for event in past if event.kind == "purchase"]
        mean = sum(event.order_value for event in orders) / len(orders) if orders else None
        assert _same(row["user_average_order_value"], mean)
        assert _same(row["user_days_since_purchase"], (now - orders[-1].time) / DAY if orders else None)
        clicks = [event for event in past if event.kind == "click"]
        with_clicks += len(clicks) > 20
        assert list(row["user_recent_clicks"]) == [event.item_id for event in clicks[-20:]]  # type: ignore[call-overload]
        times = [pd.Timestamp(time).value // 1000 for time in row["user_recent_click_times"]]  # type: ignore[attr-defined]
        assert times == [event.time for event in clicks[-20:]]
        names = [event.category for event in clicks]
        favourite = max(CATEGORIES, key=names.count) if names else None
        assert row["user_favourite_category"] == favourite
    assert with_clicks > 5


def test_category_rates_of_users_come_from_strictly_earlier_events_of_peers(
    shop: Shop, ecommerce: Path, events: list[Event]
) -> None:
    def segment(user_id: int) -> tuple[int, int]:
        return int(shop.users.age_band[user_id - 1]), int(shop.users.interest[user_id - 1])

    for row in _rows(ecommerce, "user_daily", 25):
        user_id = int(str(row["user_id"]))
        everyone = [event for event in events if event.time < int(str(row["now"]))]
        prior = _count(everyone, "click") / _count(everyone, "impression")
        peers = [event for event in everyone if segment(event.user_id) == segment(user_id)]
        for category in CATEGORIES:
            near = [event for event in peers if event.category == category]
            own = [event for event in near if event.user_id == user_id]
            peer_rate = (_count(near, "click") + 20 * prior) / (_count(near, "impression") + 20)
            expected = (_count(own, "click") + 15 * peer_rate) / (_count(own, "impression") + 15)
            assert _same(row[f"user_ctr_{category}"], expected)


def test_item_aggregates_come_from_strictly_earlier_events(ecommerce: Path, events: list[Event]) -> None:
    rated = 0
    for row in _rows(ecommerce, "item_daily", 100):
        now = int(str(row["now"]))
        everyone = [event for event in events if event.time < now]
        past = [event for event in everyone if event.item_id == row["item_id"]]
        week, month = now - 7 * DAY, now - 30 * DAY
        for kind in ("impression", "click"):
            assert row[f"item_{kind}s_7d"] == _count(past, kind, week)
        for kind in ("impression", "click", "cart", "purchase"):
            assert row[f"item_{kind}s_30d"] == _count(past, kind, month)
        ctr = _smoothed(past, everyone, "click", "impression", 20, month)
        assert _same(row["item_ctr_30d"], ctr)
        week_ctr = (_count(past, "click", week) + 20 * ctr) / (_count(past, "impression", week) + 20)
        assert _same(row["item_ctr_7d"], week_ctr)
        assert _same(row["item_cart_rate_30d"], _smoothed(past, everyone, "cart", "click", 10, month))
        assert _same(row["item_conversion_30d"], _smoothed(past, everyone, "purchase", "cart", 6, month))
        recent = (_count(past, "impression", now - 3 * DAY) + 1) / 3
        usual = (_count(past, "impression", now - 14 * DAY) + 14 / 3) / 14
        assert _same(row["item_popularity_trend"], math.log(recent / usual))
        stars = [event.rating for event in past if event.kind == "rating"]
        rated += bool(stars)
        assert row["item_ratings"] == len(stars)
        assert _same(row["item_average_rating"], sum(stars) / len(stars) if stars else None)
    assert rated > 5


def test_pair_totals_come_from_strictly_earlier_events_and_miss_none(ecommerce: Path, events: list[Event]) -> None:
    frame = pq.read_table(ecommerce / "features" / "user_item_daily.parquet").to_pandas()
    changes = {(event.user_id, event.item_id, event.time // DAY + 1) for event in events if event.kind != "rating"}
    midnight = frame["event_timestamp"].astype("int64") // DAY
    last_midnight = midnight.max()
    rows = set(zip(frame["user_id"], frame["item_id"], midnight, strict=True))
    assert rows == {change for change in changes if change[2] <= last_midnight}
    of_pair: dict[tuple[int, int], list[Event]] = {}
    for event in events:
        of_pair.setdefault((event.user_id, event.item_id), []).append(event)
    for row in _rows(ecommerce, "user_item_daily", 1000):
        pair = of_pair[int(str(row["user_id"])), int(str(row["item_id"]))]
        past = [event for event in pair if event.time < int(str(row["now"]))]
        for kind in ("impression", "click", "cart", "purchase"):
            assert row[f"pair_{kind}s"] == _count(past, kind)


def test_daily_rows_exist_for_everyone_known_at_each_midnight_of_the_spine(shop: Shop, ecommerce: Path) -> None:
    for table, key, since in (
        ("user_daily", "user_id", shop.users.signup),
        ("item_daily", "item_id", shop.items.launch),
    ):
        frame = pq.read_table(ecommerce / "features" / f"{table}.parquet").to_pandas()
        midnights = pd.DatetimeIndex(frame["event_timestamp"].unique())
        assert len(midnights) == 11
        assert (midnights == midnights.normalize()).all()
        for midnight, rows in frame.groupby("event_timestamp"):
            known = np.flatnonzero(since < pd.Timestamp(midnight).value // 1000) + 1
            np.testing.assert_array_equal(np.sort(rows[key]), known)


@pytest.mark.parametrize(
    ("table", "keys", "feature", "label"),
    [
        ("user_item_daily", ["user_id", "item_id"], "pair_clicks", "click"),
        ("user_item_daily", ["user_id", "item_id"], "pair_purchases", "purchase"),
    ],
)
def test_a_latest_value_join_leaks_where_the_point_in_time_join_does_not(
    ecommerce: Path, table: str, keys: list[str], feature: str, label: str
) -> None:
    spine = pq.read_table(ecommerce / "spine").to_pandas()
    rows = pq.read_table(ecommerce / "features" / f"{table}.parquet").to_pandas().sort_values("event_timestamp")
    rows = rows[[*keys, "event_timestamp", feature]]
    then = pd.merge_asof(spine, rows, on="event_timestamp", by=keys)[feature].fillna(0)
    now = spine.merge(rows.groupby(keys)[feature].last().reset_index(), on=keys, how="left")[feature].fillna(0)
    # The standard error of a correlation over these rows is about 0.01.
    assert spine[label].corr(now) > spine[label].corr(then) + 0.1
