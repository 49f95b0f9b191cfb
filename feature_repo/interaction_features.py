"""What this user did with this item before."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Int64

from data_sources import user_item_daily_source
from entities import item, user

user_item_daily = FeatureView(
    name="user_item_daily",
    entities=[user, item],
    # A row is written only when the pair changes; a pair that was quiet for three months counts as new.
    ttl=timedelta(days=90),
    schema=[
        Field(name="pair_impressions", dtype=Int64),
        Field(name="pair_clicks", dtype=Int64),
        Field(name="pair_carts", dtype=Int64),
        Field(name="pair_purchases", dtype=Int64),
    ],
    source=user_item_daily_source,
    description="Totals of the pair until last midnight; no row for a pair that never met.",
    owner="ranking@shop.example",
    tags={"refresh": "nightly"},
)
