"""Feature tables of the users: a profile at sign-up and aggregates every night."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtl_ray.datasets.ecommerce.calendar import DAY, HISTORY_DAYS, MINUTE
from mtl_ray.datasets.ecommerce.history import AGGREGATION_DELAY, History, smoothed
from mtl_ray.datasets.ecommerce.population import AGE_BANDS, CATEGORIES, CHANNELS, COUNTRIES, category_price
from mtl_ray.datasets.ecommerce.simulation import Shop
from mtl_ray.datasets.tables import feature_table, named, nullable, timestamps

RECENT_CLICKS = 20


def user_profile(shop: Shop) -> pa.Table:
    """One row a user, stamped at sign-up."""
    users = shop.users
    features = {
        "age_band": named(users.age_band, AGE_BANDS),
        "country": named(users.country, COUNTRIES),
        "channel": named(users.channel, CHANNELS),
        "signup_interest": named(users.interest, CATEGORIES),
    }
    return feature_table({"user_id": np.arange(len(users)) + 1}, features, users.signup, users.signup + MINUTE)


def user_daily(history: History) -> pa.Table:
    """One row a user and midnight, from the first day of the spine (or the sign-up) to the end of the last day."""
    shop = history.shop
    recent = _RecentClicks(history)
    category = shop.items.category[shop.impressions.item]
    cell = shop.impressions.user * len(CATEGORIES) + category
    cells = len(shop.users) * len(CATEGORIES)
    shown_in, clicked_in = (history.totals(kind, cell, cells) for kind in ("impression", "click"))
    segment = shop.users.age_band * len(CATEGORIES) + shop.users.interest
    segment_cell = segment[shop.impressions.user] * len(CATEGORIES) + category
    shown_to_segment, clicked_by_segment = (
        history.totals(kind, segment_cell, len(AGE_BANDS) * len(CATEGORIES) ** 2) for kind in ("impression", "click")
    )
    level = np.log(shop.outcomes.price) - np.log(category_price(shop.items, category, shop.impressions.timestamp))
    users = shop.impressions.user
    level_shown, level_clicked = (
        history.totals(kind, users, len(shop.users), level) for kind in ("impression", "click")
    )
    spent = history.totals("purchase", users, len(shop.users), np.nan_to_num(shop.outcomes.order_value))
    last_purchase = _LastEvent(history, "purchase")

    days: list[pa.Table] = []
    for day in range(HISTORY_DAYS, shop.calendar.num_days + 1):
        midnight = shop.calendar.midnight(day)
        known = np.flatnonzero(shop.users.signup < midnight)
        count = history.by_user
        shown, clicked, carted, bought = (
            count[kind].window(day, 30)[known] for kind in ("impression", "click", "cart", "purchase")
        )
        orders = count["purchase"].before(day)[known]
        category_clicks = clicked_in.before(day).reshape(-1, len(CATEGORIES))[known]
        category_shown = shown_in.before(day).reshape(-1, len(CATEGORIES))[known]
        ctr = smoothed(clicked, shown, history.rate("click", "impression", day), 10)
        clicks_ever, shown_ever = count["click"].before(day)[known], count["impression"].before(day)[known]
        days_since = (midnight - last_purchase.before(day)[known]) / DAY
        features: dict[str, Any] = {
            "user_impressions_7d": _counts(count["impression"].window(day, 7)[known]),
            "user_clicks_7d": _counts(count["click"].window(day, 7)[known]),
            "user_impressions_30d": _counts(shown),
            "user_clicks_30d": _counts(clicked),
            "user_carts_30d": _counts(carted),
            "user_purchases_30d": _counts(bought),
            "user_ctr_30d": pa.array(ctr),
            "user_cart_rate_30d": pa.array(smoothed(carted, clicked, history.rate("cart", "click", day), 5)),
            "user_conversion_30d": pa.array(smoothed(bought, carted, history.rate("purchase", "cart", day), 3)),
            "user_average_order_value": nullable(spent.before(day)[known] / np.where(orders > 0, orders, np.nan)),
            "user_days_since_purchase": nullable(np.where(orders > 0, days_since, np.nan)),
            "user_days_since_signup": pa.array((midnight - shop.users.signup[known]) / DAY),
            "user_price_preference": pa.array(
                level_clicked.before(day)[known] / (clicks_ever + 5) - level_shown.before(day)[known] / (shown_ever + 5)
            ),
            "user_favourite_category": named(category_clicks.argmax(axis=1), CATEGORIES, clicks_ever == 0),
            **recent.before(day, known),
        }
        # A user's rate in a category is drawn to that of users of the same age and interest.
        peers = segment[known]
        peer_clicks, peer_shown = (
            totals.before(day).reshape(-1, len(CATEGORIES)) for totals in (clicked_by_segment, shown_to_segment)
        )
        peer_rate = smoothed(peer_clicks, peer_shown, history.rate("click", "impression", day), 20)[peers]
        category_rate = (category_clicks + 15 * peer_rate) / (category_shown + 15)
        features |= {f"user_ctr_{name}": pa.array(category_rate[:, i]) for i, name in enumerate(CATEGORIES)}
        stamp = np.full(known.size, midnight)
        days.append(feature_table({"user_id": known + 1}, features, stamp, stamp + AGGREGATION_DELAY))
    return pa.concat_tables(days).combine_chunks()


class _LastEvent:
    """Time of each user's last event of a kind before each midnight, 0 where there is none yet."""

    def __init__(self, history: History, kind: str) -> None:
        events = history.events[kind]
        days, users = history.shop.calendar.num_days, len(history.shop.users)
        self._last = np.zeros((days + 1, users), dtype=np.int64)
        np.maximum.at(self._last, (events.day + 1, history.shop.impressions.user[events.row]), events.timestamp)
        np.maximum.accumulate(self._last, axis=0, out=self._last)

    def before(self, day: int) -> NDArray[np.int64]:
        return self._last[day]


class _RecentClicks:
    """The items that each user clicked last and the times of it, in the order of the clicks."""

    def __init__(self, history: History) -> None:
        shop, clicks = history.shop, history.events["click"]
        user = shop.impressions.user[clicks.row]
        order = np.lexsort((clicks.row, clicks.timestamp, user))
        self._item_id = shop.impressions.item[clicks.row][order] + 1
        self._time = clicks.timestamp[order]
        self._first = np.searchsorted(user[order], np.arange(len(shop.users)))
        self._clicks = history.by_user["click"]

    def before(self, day: int, users: NDArray[np.int64]) -> dict[str, pa.Array]:
        """Lists of at most `RECENT_CLICKS` item ids and times a user, newest last, empty without a click."""
        clicks = self._clicks.before(day)[users].astype(np.int64)
        length = np.minimum(clicks, RECENT_CLICKS)
        offsets = np.concatenate([[0], length.cumsum()])
        start = self._first[users] + clicks - length
        index = np.repeat(start - offsets[:-1], length) + np.arange(offsets[-1])
        starts = pa.array(offsets.astype(np.int32))
        return {
            "user_recent_clicks": pa.ListArray.from_arrays(starts, pa.array(self._item_id[index])),
            "user_recent_click_times": pa.ListArray.from_arrays(starts, timestamps(self._time[index])),
        }


def _counts(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(values.astype(np.int64))
