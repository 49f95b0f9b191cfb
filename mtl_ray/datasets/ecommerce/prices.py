"""The price of each item over time: a base price and discounts that come and go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mtl_ray.datasets.ecommerce.calendar import DAY, HOUR, Calendar
from mtl_ray.datasets.ecommerce.population import Items

_OFFER_PERIOD = 7 * DAY
_OFFER_SHARE = 0.25


@dataclass(frozen=True)
class PriceHistory:
    """One row a price change, sorted by item and time; the first row of an item is its launch."""

    item: NDArray[np.int64]
    since: NDArray[np.int64]
    """Microseconds since the epoch from which the price holds."""
    price: NDArray[np.float64]
    discount: NDArray[np.float64]
    """Share taken off the base price, 0 when there is no offer."""

    def rows_at(self, item: NDArray[np.int64], timestamp: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row that holds for each (item, timestamp); the item must be launched by then."""
        origin = self.since.min()
        span = max(int(self.since.max()), int(timestamp.max())) - origin + 1
        rows = np.searchsorted(self.item * span + (self.since - origin), item * span + (timestamp - origin), "right")
        return rows - 1


def draw_prices(rng: Generator, items: Items, calendar: Calendar) -> PriceHistory:
    """In each week an item has an offer with probability `_OFFER_SHARE`: 10 to 40 % off for two to four days."""
    num_items = len(items)
    weeks = -(-(calendar.end - calendar.start) // _OFFER_PERIOD)
    shape = (weeks, num_items)
    offered = rng.random(shape) < _OFFER_SHARE
    begin = calendar.start + np.arange(weeks)[:, None] * _OFFER_PERIOD + rng.integers(0, 60, shape) * HOUR
    length = rng.integers(48, 97, shape) * HOUR
    discount = rng.choice([0.1, 0.2, 0.3, 0.4], shape)
    # An offer never begins at the launch or before it, and ends before the next week's can begin.
    offered &= (begin > items.launch) & (begin + length < calendar.end)
    on_offer = np.broadcast_to(np.arange(num_items), shape)[offered]

    item = np.concatenate([np.arange(num_items), on_offer, on_offer])
    since = np.concatenate([items.launch, begin[offered], (begin + length)[offered]])
    off = np.concatenate([np.zeros(num_items), discount[offered], np.zeros(on_offer.size)])
    order = np.lexsort((since, item))
    item, since, off = item[order], since[order], off[order]
    return PriceHistory(item=item, since=since, price=np.round(items.base_price[item] * (1 - off), 2), discount=off)
