"""What is known of an item: the catalogue entry, and how users reacted to it until last midnight."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Float64, Int64, String

from data_sources import item_daily_source, item_profile_source
from entities import item

item_profile = FeatureView(
    name="item_profile",
    entities=[item],
    # A new row only when the price changes, which may take years.
    ttl=timedelta(days=3650),
    schema=[
        Field(name="category", dtype=String, tags={"vocabulary": "category"}),
        Field(name="brand", dtype=String),
        Field(name="price", dtype=Float64, description="Euro, discount taken off."),
        Field(name="discount", dtype=Float64, description="Share taken off the base price; 0 without an offer."),
        Field(
            name="price_to_category",
            dtype=Float64,
            description="Price over the geometric mean of the base prices of the category at the time.",
        ),
    ],
    source=item_profile_source,
    description="Catalogue entry with the price of the moment.",
    owner="catalogue@shop.example",
    tags={"refresh": "at every price change"},
)

item_daily = FeatureView(
    name="item_daily",
    entities=[item],
    # Refreshed every night: survives a job that fails for two nights, and does not serve an older state than that.
    ttl=timedelta(days=3),
    schema=[
        Field(name="item_impressions_7d", dtype=Int64),
        Field(name="item_clicks_7d", dtype=Int64),
        Field(name="item_impressions_30d", dtype=Int64),
        Field(name="item_clicks_30d", dtype=Int64),
        Field(name="item_carts_30d", dtype=Int64),
        Field(name="item_purchases_30d", dtype=Int64),
        Field(name="item_ctr_7d", dtype=Float64, description="Clicks per impression, smoothed to item_ctr_30d."),
        Field(name="item_ctr_30d", dtype=Float64, description="Clicks per impression, smoothed to the shop's."),
        Field(name="item_cart_rate_30d", dtype=Float64, description="Carts per click, smoothed."),
        Field(name="item_conversion_30d", dtype=Float64, description="Purchases per cart, smoothed."),
        Field(
            name="item_popularity_trend",
            dtype=Float64,
            description="Log of the impressions a day of the last 3 days over those of the last 14.",
        ),
        Field(name="item_average_rating", dtype=Float64, description="Stars, 1 to 5; null before the first rating."),
        Field(name="item_ratings", dtype=Int64),
        Field(name="item_days_since_launch", dtype=Float64),
    ],
    source=item_daily_source,
    description="How users reacted until last midnight.",
    owner="catalogue@shop.example",
    tags={"refresh": "nightly"},
)
