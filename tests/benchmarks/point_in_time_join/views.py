"""The three feature views of the benchmark: 22 feature columns of three types."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

EVENT_TIMESTAMP = "event_timestamp"
CREATED_TIMESTAMP = "created_timestamp"
ROW = "impression_id"
"""Spine column that numbers its rows 0, 1, 2, …; an ordinary column to every side."""
SPINE_COLUMNS = (ROW, "user_id", "item_id", EVENT_TIMESTAMP, "click", "dwell_seconds")
SERVICE = "benchmark"
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class View:
    """A feature view over `<name>.parquet`."""

    name: str
    keys: tuple[str, ...]
    ttl: timedelta
    """Inclusive; 0: for ever."""
    features: dict[str, str]
    """Name -> int64, float64, string, or id: an int64 that a float64 cannot hold."""

    @property
    def ttl_us(self) -> int:
        """ttl in microseconds."""
        return self.ttl // MICROSECOND


USER = View(
    "user_view",
    ("user_id",),
    timedelta(days=7),
    {
        "user_sessions_7d": "int64",
        "user_clicks_7d": "int64",
        "user_last_session": "id",
        "user_ctr_7d": "float64",
        "user_spend_30d": "float64",
        "user_days_since_purchase": "float64",
        "user_country": "string",
        "user_favourite_category": "string",
    },
)
ITEM = View(
    "item_view",
    ("item_id",),
    timedelta(0),
    {
        "item_views_1d": "int64",
        "item_clicks_1d": "int64",
        "item_stock": "int64",
        "item_price": "float64",
        "item_ctr_7d": "float64",
        "item_category": "string",
        "item_brand": "string",
        "item_state": "string",
    },
)
USER_ITEM = View(
    "user_item_view",
    ("user_id", "item_id"),
    timedelta(days=2),
    {
        "pair_views": "int64",
        "pair_clicks": "int64",
        "pair_carts": "int64",
        "pair_dwell_seconds": "float64",
        "pair_affinity": "float64",
        "pair_last_action": "string",
    },
)
VIEWS = (USER, ITEM, USER_ITEM)
FEATURES = tuple(feature for view in VIEWS for feature in view.features)
