"""Who visits the shop and what it sells: attributes that the shop knows and latent traits that it does not.

Traits lean on attributes (tastes on age and country, quality on the brand, ...) and each has a part of its own, so that
profiles, aggregates and ids all carry information about them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mtl_ray.datasets.ecommerce.calendar import DAY, HOUR, Calendar

CATEGORIES = ("beauty", "books", "electronics", "fashion", "garden", "grocery", "sports", "toys")
COUNTRIES = ("AT", "DE", "ES", "FR", "IT", "NL")
AGE_BANDS = ("18-24", "25-34", "35-49", "50-64", "65+")
CHANNELS = ("affiliate", "email", "organic", "search", "social")
BRANDS_PER_CATEGORY = 5

_EARLIEST_SIGNUP = 400 * DAY
_NEW_USERS = 0.15
_NEW_ITEMS = 0.10


@dataclass(frozen=True)
class Users:
    """U users; position u has `user_id` u + 1. Codes index the constants above."""

    country: NDArray[np.int64]
    age_band: NDArray[np.int64]
    channel: NDArray[np.int64]
    signup: NDArray[np.int64]
    """Microseconds since the epoch."""
    interest: NDArray[np.int64]
    """The category that the user named at sign-up."""
    activity: NDArray[np.float64]
    """Relative number of sessions a day."""
    category_taste: NDArray[np.float64]
    """`[U, categories]`, log odds."""
    price_sensitivity: NDArray[np.float64]
    """Log odds lost for one standard deviation of price within the category."""
    click_propensity: NDArray[np.float64]
    cart_propensity: NDArray[np.float64]
    purchase_propensity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.signup)


@dataclass(frozen=True)
class Items:
    """I items; position i has `item_id` i + 1."""

    category: NDArray[np.int64]
    brand: NDArray[np.int64]
    """`brand // BRANDS_PER_CATEGORY` is the category."""
    launch: NDArray[np.int64]
    """Microseconds since the epoch."""
    base_price: NDArray[np.float64]
    price_level: NDArray[np.float64]
    """Log price relative to the category, in standard deviations."""
    quality: NDArray[np.float64]
    """Log odds."""
    popularity: NDArray[np.float64]
    """`[days, I]` log weight with which the shop shows the item on each day."""
    trend: NDArray[np.float64]
    """`[days, I]` the part of the popularity that moves, mean about 0."""

    def __len__(self) -> int:
        return len(self.launch)


def draw_users(rng: Generator, num_users: int, calendar: Calendar) -> Users:
    country = rng.choice(len(COUNTRIES), num_users, p=[0.08, 0.34, 0.14, 0.2, 0.14, 0.1])
    age_band = rng.choice(len(AGE_BANDS), num_users, p=[0.18, 0.28, 0.28, 0.17, 0.09])
    channel = rng.choice(len(CHANNELS), num_users, p=[0.1, 0.15, 0.35, 0.25, 0.15])
    new = rng.random(num_users) < _NEW_USERS
    signup = np.where(
        new,
        rng.integers(calendar.start, calendar.end - DAY, num_users),
        rng.integers(calendar.start - _EARLIEST_SIGNUP, calendar.start, num_users),
    )
    taste_by_age = _spread(rng, len(AGE_BANDS), len(CATEGORIES))
    taste_by_country = _spread(rng, len(COUNTRIES), len(CATEGORIES))
    shared_taste = 0.7 * taste_by_age[age_band] + 0.1 * taste_by_country[country]
    interest = (shared_taste + rng.gumbel(size=shared_taste.shape)).argmax(axis=1)
    own_taste = 1.1 * (interest[:, None] == np.arange(len(CATEGORIES))) + rng.normal(0, 0.1, shared_taste.shape)
    channel_effect = _spread(rng, len(CHANNELS))[channel]
    intent = rng.normal(0, 1, num_users)
    return Users(
        country=country,
        age_band=age_band,
        channel=channel,
        signup=signup,
        interest=interest,
        activity=rng.gamma(4.0, 1.0, num_users) + 0.5,
        category_taste=shared_taste + own_taste,
        price_sensitivity=0.5
        + 0.4 * _spread(rng, len(COUNTRIES))[country]
        + 0.2 * _spread(rng, len(AGE_BANDS))[age_band]
        + rng.normal(0, 0.1, num_users),
        click_propensity=0.5 * channel_effect + 0.2 * intent,
        cart_propensity=0.4 * channel_effect + 0.25 * intent + 0.3 * _spread(rng, len(COUNTRIES))[country],
        purchase_propensity=0.3 * channel_effect + 0.25 * intent + 0.3 * _spread(rng, len(AGE_BANDS))[age_band],
    )


def draw_items(rng: Generator, num_items: int, calendar: Calendar) -> Items:
    num_brands = len(CATEGORIES) * BRANDS_PER_CATEGORY
    brand = rng.permutation(np.arange(num_items) % num_brands)
    category = brand // BRANDS_PER_CATEGORY
    new = rng.random(num_items) < _NEW_ITEMS
    launch = np.where(
        new,
        rng.integers(calendar.start, calendar.end - DAY, num_items),
        rng.integers(calendar.start - _EARLIEST_SIGNUP, calendar.start, num_items),
    )
    brand_level = rng.normal(0, 1, num_brands)
    price_level = 0.7 * brand_level[brand] + 0.7 * rng.normal(0, 1, num_items)
    category_price = rng.uniform(np.log(12), np.log(90), len(CATEGORIES))
    base_price = np.maximum(np.round(np.exp(category_price[category] + 0.45 * price_level), 2), 0.5)
    trend = _trend(rng, num_items, calendar.num_days)
    return Items(
        category=category,
        brand=brand,
        # A whole hour: prices and launches are switched by a job of the shop, not by an event.
        launch=launch // HOUR * HOUR,
        base_price=base_price,
        price_level=price_level,
        quality=0.6 * rng.normal(0, 1, num_brands)[brand] + 0.3 * rng.normal(0, 1, num_items),
        popularity=rng.normal(0, 0.6, num_items) + trend,
        trend=trend,
    )


def category_price(items: Items, category: NDArray[np.int64], timestamp: NDArray[np.int64]) -> NDArray[np.float64]:
    """`[n]` geometric mean of the base prices of the items of `category` `[n]` launched by `timestamp` `[n]`.

    NaN where nothing of the category was launched by then.
    """
    mean = np.full(len(category), np.nan)
    for code in range(len(CATEGORIES)):
        member = np.flatnonzero(items.category == code)
        member = member[np.argsort(items.launch[member], kind="stable")]
        asked = np.flatnonzero(category == code)
        launched = np.searchsorted(items.launch[member], timestamp[asked], "right")
        log_total = np.concatenate([[0.0], np.log(items.base_price[member]).cumsum()])[launched]
        mean[asked] = np.exp(log_total / np.where(launched > 0, launched, np.nan))
    return mean


def _trend(rng: Generator, num_items: int, num_days: int) -> NDArray[np.float64]:
    """`[days, items]`: a slow wave of its own for each item, and for one item in five a sudden fashion that fades."""
    day = np.arange(num_days)[:, None]
    period = rng.uniform(20, 60, num_items)
    wave = 0.5 * np.sin(2 * np.pi * (day / period + rng.random(num_items)))
    outbreak = rng.uniform(0, num_days, num_items)
    since = day - outbreak
    fashion = np.where(since >= 0, np.exp(-np.maximum(since, 0) / 7), 0.0) * 1.8
    return wave + fashion * (rng.random(num_items) < 0.2)


def _spread(rng: Generator, groups: int, columns: int | None = None) -> NDArray[np.float64]:
    """Effects of `groups` groups with mean 0 and standard deviation 1 over the groups, whatever the seed."""
    effects = rng.normal(0, 1, groups if columns is None else (groups, columns))
    centred = effects - effects.mean(axis=0)
    return centred / centred.std(axis=0)
