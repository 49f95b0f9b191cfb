"""Feature tables of the items: the catalogue entry, which changes with the price, and aggregates every night."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtl_ray.datasets.ecommerce.calendar import DAY, HISTORY_DAYS, MINUTE
from mtl_ray.datasets.ecommerce.history import AGGREGATION_DELAY, History, smoothed
from mtl_ray.datasets.ecommerce.population import BRANDS_PER_CATEGORY, CATEGORIES, category_price
from mtl_ray.datasets.ecommerce.simulation import Shop
from mtl_ray.datasets.tables import feature_table, named, nullable

BRANDS = tuple(f"{category}-{1 + brand}" for category in CATEGORIES for brand in range(BRANDS_PER_CATEGORY))


def item_profile(shop: Shop) -> pa.Table:
    """One row an item and price change, stamped when the price becomes valid; the first is the launch."""
    prices = shop.prices
    category = shop.items.category[prices.item]
    usual = category_price(shop.items, category, prices.since)
    features = {
        "category": named(category, CATEGORIES),
        "brand": named(shop.items.brand[prices.item], BRANDS),
        "price": pa.array(prices.price),
        "discount": pa.array(prices.discount),
        "price_to_category": pa.array(prices.price / usual),
    }
    return feature_table({"item_id": prices.item + 1}, features, prices.since, prices.since + MINUTE)


def item_daily(history: History) -> pa.Table:
    """One row an item and midnight, from the first day of the spine (or the launch) to the end of the last day."""
    shop = history.shop
    stars = history.totals("rating", shop.impressions.item, len(shop.items), np.nan_to_num(shop.outcomes.rating))
    days: list[pa.Table] = []
    for day in range(HISTORY_DAYS, shop.calendar.num_days + 1):
        midnight = shop.calendar.midnight(day)
        known = np.flatnonzero(shop.items.launch < midnight)
        count = history.by_item
        shown, clicked, carted, bought = (
            count[kind].window(day, 30)[known] for kind in ("impression", "click", "cart", "purchase")
        )
        shown_7d, clicked_7d = (count[kind].window(day, 7)[known] for kind in ("impression", "click"))
        ctr_30d = smoothed(clicked, shown, history.rate("click", "impression", day), 20)
        shown_3d, shown_14d = (count["impression"].window(day, length)[known] for length in (3, 14))
        ratings = count["rating"].before(day)[known]
        features: dict[str, Any] = {
            "item_impressions_7d": _counts(shown_7d),
            "item_clicks_7d": _counts(clicked_7d),
            "item_impressions_30d": _counts(shown),
            "item_clicks_30d": _counts(clicked),
            "item_carts_30d": _counts(carted),
            "item_purchases_30d": _counts(bought),
            # The last week is drawn to the last month, the month to the shop.
            "item_ctr_7d": pa.array((clicked_7d + 20 * ctr_30d) / (shown_7d + 20)),
            "item_ctr_30d": pa.array(ctr_30d),
            "item_cart_rate_30d": pa.array(smoothed(carted, clicked, history.rate("cart", "click", day), 10)),
            "item_conversion_30d": pa.array(smoothed(bought, carted, history.rate("purchase", "cart", day), 6)),
            "item_popularity_trend": pa.array(np.log((shown_3d + 1) / 3) - np.log((shown_14d + 14 / 3) / 14)),
            "item_average_rating": nullable(stars.before(day)[known] / np.where(ratings > 0, ratings, np.nan)),
            "item_ratings": _counts(ratings),
            "item_days_since_launch": pa.array((midnight - shop.items.launch[known]) / DAY),
        }
        stamp = np.full(known.size, midnight)
        days.append(feature_table({"item_id": known + 1}, features, stamp, stamp + AGGREGATION_DELAY))
    return pa.concat_tables(days).combine_chunks()


def _counts(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(values.astype(np.int64))
