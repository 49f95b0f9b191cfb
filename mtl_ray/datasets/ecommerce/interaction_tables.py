"""Feature table of user-item pairs: what the user did with the item before, a new row when it changed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mtl_ray.datasets.ecommerce.calendar import DAY
from mtl_ray.datasets.ecommerce.history import AGGREGATION_DELAY, History
from mtl_ray.datasets.tables import feature_table

_KINDS = ("impression", "click", "cart", "purchase")


def user_item_daily(history: History) -> pa.Table:
    """One row a pair and midnight after a day with an event of the pair: totals since the beginning."""
    shop = history.shop
    num_items, num_days = len(shop.items), shop.calendar.num_days
    pair = shop.impressions.user * num_items + shop.impressions.item
    events = [history.events[kind] for kind in _KINDS]
    # Sorted by user, item, day, so the rows of a pair are neighbours in the order of time.
    cell = [pair[event.row] * num_days + event.day for event in events]
    cells, inverse = np.unique(np.concatenate(cell), return_inverse=True)
    parts = np.split(inverse, np.cumsum([len(part) for part in cell])[:-1])
    pairs, day = np.divmod(cells, num_days)
    is_first = np.ones(len(cells), dtype=bool)
    is_first[1:] = np.diff(pairs) != 0
    first = np.maximum.accumulate(np.where(is_first, np.arange(len(cells)), 0))

    features = {}
    for kind, part in zip(_KINDS, parts, strict=True):
        total = np.bincount(part, minlength=len(cells)).cumsum()
        before_pair = np.concatenate([[0], total])[first]
        features[f"pair_{kind}s"] = pa.array((total - before_pair).astype(np.int64))
    stamp = shop.calendar.start + (day + 1) * DAY
    user, item = np.divmod(pairs, num_items)
    keys = {"user_id": user + 1, "item_id": item + 1}
    return feature_table(keys, features, stamp, stamp + AGGREGATION_DELAY)
