"""The whole shop, in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtl_ray.datasets.ecommerce.calendar import HISTORY_DAYS, Calendar
from mtl_ray.datasets.ecommerce.funnel import Outcomes, draw_outcomes
from mtl_ray.datasets.ecommerce.options import EcommerceOptions
from mtl_ray.datasets.ecommerce.population import Items, Users, draw_items, draw_users
from mtl_ray.datasets.ecommerce.prices import PriceHistory, draw_prices
from mtl_ray.datasets.ecommerce.sessions import Impressions, draw_impressions


@dataclass(frozen=True)
class Shop:
    """Everything that happened, the history before the spine included."""

    calendar: Calendar
    users: Users
    items: Items
    prices: PriceHistory
    impressions: Impressions
    outcomes: Outcomes


def simulate(options: EcommerceOptions) -> Shop:
    """The same options give the same shop, bit for bit; each part has a random stream of its own."""
    calendar = Calendar(num_days=HISTORY_DAYS + options.num_days)
    streams = [np.random.default_rng([options.seed, part]) for part in range(5)]
    users = draw_users(streams[0], options.num_users, calendar)
    items = draw_items(streams[1], options.num_items, calendar)
    prices = draw_prices(streams[2], items, calendar)
    total = round(options.num_impressions * calendar.num_days / options.num_days)
    impressions = draw_impressions(streams[3], users, items, calendar, total)
    outcomes = draw_outcomes(streams[4], impressions, users, items, prices, calendar)
    return Shop(calendar, users, items, prices, impressions, outcomes)
