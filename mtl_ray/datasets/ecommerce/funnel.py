"""What the users do: impression -> click -> cart -> purchase -> order value and rating.

Each step is a Bernoulli draw given the step before. The probabilities of the steps share the taste for the category,
the quality of the item and the reaction to its price, so that the tasks have something to learn from each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mtl_ray.datasets.ecommerce.calendar import DAY, HOUR, MINUTE, SECOND, Calendar
from mtl_ray.datasets.ecommerce.population import Items, Users
from mtl_ray.datasets.ecommerce.prices import PriceHistory
from mtl_ray.datasets.ecommerce.sessions import DEVICES, Impressions

CLICK_RATE = 0.225
CARTS_PER_CLICK = 0.32
PURCHASES_PER_CART = 0.45
RATED_SHARE = 0.45
NEVER = np.iinfo(np.int64).max
"""Time of an event that does not happen."""

_DEVICE_CART = np.array([0.15, -0.1, 0.0])
assert len(_DEVICE_CART) == len(DEVICES)


@dataclass(frozen=True)
class Outcomes:
    """Row n belongs to impression n. Times are microseconds since the epoch, `NEVER` where the step was not taken."""

    probability: dict[str, NDArray[np.float64]]
    """True unconditional probability of click, cart and purchase."""
    click_time: NDArray[np.int64]
    cart_time: NDArray[np.int64]
    purchase_time: NDArray[np.int64]
    rating_time: NDArray[np.int64]
    order_value: NDArray[np.float64]
    """NaN where nothing was purchased."""
    rating: NDArray[np.float64]
    """1 to 5, NaN where nothing was rated."""
    price: NDArray[np.float64]
    """Price at which the item was shown."""


def draw_outcomes(
    rng: Generator, impressions: Impressions, users: Users, items: Items, prices: PriceHistory, calendar: Calendar
) -> Outcomes:
    user, item = impressions.user, impressions.item
    offer = prices.rows_at(item, impressions.timestamp)
    price, discount = prices.price[offer], prices.discount[offer]
    taste = users.category_taste[user, items.category[item]]
    expensive = users.price_sensitivity[user] * items.price_level[item]
    quality = items.quality[item]
    trend = items.trend[calendar.day_of(impressions.timestamp), item]
    seen_before = np.log1p(_earlier_impressions(impressions))

    click = 1.2 * taste + quality - 0.5 * expensive + 1.5 * discount + 0.25 * trend - 0.25 * seen_before
    click += users.click_propensity[user]
    cart = 0.4 * taste + 0.7 * quality - 0.7 * expensive + 1.5 * discount
    cart += users.cart_propensity[user] + _DEVICE_CART[impressions.device]
    purchase = 0.25 * taste + 0.6 * quality - 0.6 * expensive + 1.0 * discount + users.purchase_propensity[user]

    p_click = _with_mean(click, CLICK_RATE, np.ones_like(click))
    p_cart = _with_mean(cart, CARTS_PER_CLICK, p_click)
    p_purchase = _with_mean(purchase, PURCHASES_PER_CART, p_click * p_cart)

    count = len(impressions)
    clicked = rng.random(count) < p_click
    carted = clicked & (rng.random(count) < p_cart)
    purchased = carted & (rng.random(count) < p_purchase)
    rated = purchased & (rng.random(count) < RATED_SHARE)

    click_time = impressions.timestamp + rng.integers(SECOND, MINUTE, count)
    cart_time = click_time + rng.integers(5 * SECOND, 5 * MINUTE, count)
    purchase_time = cart_time + np.minimum(rng.exponential(20 * MINUTE, count).astype(np.int64) + SECOND, 12 * HOUR)
    rating_time = purchase_time + rng.integers(DAY, 6 * DAY, count)

    quantity = 1 + rng.poisson(np.exp(-1.2 - 0.4 * items.price_level[item]))
    satisfaction = 3.0 + 0.7 * quality + 0.35 * taste + 1.5 * discount + rng.normal(0, 0.7, count)
    return Outcomes(
        probability={"click": p_click, "cart": p_click * p_cart, "purchase": p_click * p_cart * p_purchase},
        click_time=np.where(clicked, click_time, NEVER),
        cart_time=np.where(carted, cart_time, NEVER),
        purchase_time=np.where(purchased, purchase_time, NEVER),
        rating_time=np.where(rated, rating_time, NEVER),
        order_value=np.where(purchased, np.round(price * quantity, 2), np.nan),
        rating=np.where(rated, np.clip(np.round(satisfaction), 1, 5), np.nan),
        price=price,
    )


def _earlier_impressions(impressions: Impressions) -> NDArray[np.int64]:
    """How often the user was shown the item before. Impressions are in the order of time."""
    num_items = int(impressions.item.max()) + 1
    pair = impressions.user * num_items + impressions.item
    order = np.argsort(pair, kind="stable")
    position = np.arange(len(pair))
    is_first = np.ones(len(pair), dtype=bool)
    is_first[1:] = np.diff(pair[order]) != 0
    earlier = np.empty(len(pair), dtype=np.int64)
    earlier[order] = position - np.maximum.accumulate(np.where(is_first, position, 0))
    return earlier


def _with_mean(logit: NDArray[np.float64], target: float, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """sigmoid(logit + b), with b such that its `weight`ed mean is `target` (bisection)."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = np.average(1 / (1 + np.exp(-(logit + middle))), weights=weight)
        low, high = (middle, high) if mean < target else (low, middle)
    return 1 / (1 + np.exp(-(logit + (low + high) / 2)))
