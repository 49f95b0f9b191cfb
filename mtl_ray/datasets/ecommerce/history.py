"""Events of the shop counted by day, as its nightly aggregation job sees them.

A feature row stamped midnight of day d is computed from events strictly before that midnight, each counted at the time
at which it happened: a purchase long after its impression counts on the day of the purchase.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mtl_ray.datasets.ecommerce.simulation import Shop

EVENTS = ("impression", "click", "cart", "purchase", "rating")

AGGREGATION_DELAY = 15 * 60 * 1_000_000
"""Microseconds after midnight at which the nightly job has written its rows (`created_timestamp`)."""


@dataclass(frozen=True)
class Events:
    """Events of one kind before the end of the simulation."""

    row: NDArray[np.int64]
    """Index of the impression that the event belongs to."""
    timestamp: NDArray[np.int64]
    day: NDArray[np.int64]


def events_of(shop: Shop, kind: str) -> Events:
    """The events of `kind` (one of EVENTS) that happen before the last midnight."""
    time = shop.impressions.timestamp if kind == "impression" else getattr(shop.outcomes, f"{kind}_time")
    row = np.flatnonzero(time < shop.calendar.end)
    return Events(row=row, timestamp=time[row], day=shop.calendar.day_of(time[row]))


class DailyTotals:
    """Totals before each midnight, per entity (a user, an item, or a user x category cell)."""

    def __init__(
        self,
        entity: NDArray[np.int64],
        day: NDArray[np.int64],
        num_entities: int,
        num_days: int,
        weight: NDArray[np.float64] | None = None,
    ) -> None:
        cells = np.bincount(day * num_entities + entity, weight, minlength=num_days * num_entities)
        self._before = np.zeros((num_days + 1, num_entities))
        np.cumsum(cells.reshape(num_days, num_entities), axis=0, out=self._before[1:])

    def before(self, day: int) -> NDArray[np.float64]:
        """Total of each entity over all events before midnight of `day`."""
        return self._before[day]

    def window(self, day: int, length: int) -> NDArray[np.float64]:
        """Total of each entity over the `length` days that end at midnight of `day`."""
        return self._before[day] - self._before[max(day - length, 0)]


@dataclass(frozen=True)
class History:
    """Daily totals of every kind of event by user and by item."""

    shop: Shop

    @cached_property
    def events(self) -> dict[str, Events]:
        return {kind: events_of(self.shop, kind) for kind in EVENTS}

    @cached_property
    def by_user(self) -> dict[str, DailyTotals]:
        return {kind: self.totals(kind, self.shop.impressions.user, len(self.shop.users)) for kind in EVENTS}

    @cached_property
    def by_item(self) -> dict[str, DailyTotals]:
        return {kind: self.totals(kind, self.shop.impressions.item, len(self.shop.items)) for kind in EVENTS}

    def totals(
        self, kind: str, entity_of_row: NDArray[np.int64], num_entities: int, weight: NDArray[np.float64] | None = None
    ) -> DailyTotals:
        """Totals of `kind` by `entity_of_row`, each event counted `weight` times (both `[impressions]`)."""
        events = self.events[kind]
        weights = None if weight is None else weight[events.row]
        return DailyTotals(entity_of_row[events.row], events.day, num_entities, self.shop.calendar.num_days, weights)

    def rate(self, event: str, base: str, day: int) -> float:
        """Share of all `base` events before midnight of `day` that became `event`: the prior of smoothed rates."""
        return float(self.by_user[event].before(day).sum() / max(self.by_user[base].before(day).sum(), 1.0))


def smoothed(
    count: NDArray[np.float64], base: NDArray[np.float64], prior: float, strength: float
) -> NDArray[np.float64]:
    """`count / base`, drawn to `prior` as if `strength` more base events had shown it."""
    return (count + strength * prior) / (base + strength)
