"""What is known of a user: the profile, and what the user did until last midnight."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Array, Float64, Int64, String, UnixTimestamp

from data_sources import user_daily_source, user_profile_source
from entities import user

user_profile = FeatureView(
    name="user_profile",
    entities=[user],
    # Written once, at sign-up: an account outlives any horizon of the training data.
    ttl=timedelta(days=3650),
    schema=[
        Field(name="age_band", dtype=String, description="Age at sign-up, in bands."),
        Field(name="country", dtype=String, description="ISO 3166 code of the delivery address."),
        Field(name="channel", dtype=String, description="How the user found the shop."),
        Field(
            name="signup_interest",
            dtype=String,
            tags={"vocabulary": "category"},
            description="The category that the user named at sign-up.",
        ),
    ],
    source=user_profile_source,
    description="Attributes given at sign-up.",
    owner="customers@shop.example",
    tags={"refresh": "at sign-up"},
)

CATEGORIES = ("beauty", "books", "electronics", "fashion", "garden", "grocery", "sports", "toys")

user_daily = FeatureView(
    name="user_daily",
    entities=[user],
    # Refreshed every night: survives a job that fails for two nights, and does not serve an older state than that.
    ttl=timedelta(days=3),
    schema=[
        Field(name="user_impressions_7d", dtype=Int64),
        Field(name="user_clicks_7d", dtype=Int64),
        Field(name="user_impressions_30d", dtype=Int64),
        Field(name="user_clicks_30d", dtype=Int64),
        Field(name="user_carts_30d", dtype=Int64),
        Field(name="user_purchases_30d", dtype=Int64),
        Field(name="user_ctr_30d", dtype=Float64, description="Clicks per impression, smoothed to the shop's."),
        Field(name="user_cart_rate_30d", dtype=Float64, description="Carts per click, smoothed."),
        Field(name="user_conversion_30d", dtype=Float64, description="Purchases per cart, smoothed."),
        Field(name="user_average_order_value", dtype=Float64, description="Of all orders; null before the first."),
        Field(name="user_days_since_purchase", dtype=Float64, description="Null before the first purchase."),
        Field(name="user_days_since_signup", dtype=Float64),
        Field(
            name="user_price_preference",
            dtype=Float64,
            description="Mean log price, relative to the category, of what was clicked less that of what was shown.",
        ),
        Field(
            name="user_favourite_category",
            dtype=String,
            tags={"vocabulary": "category"},
            description="The category with the most clicks; null before the first click.",
        ),
        Field(
            name="user_recent_clicks",
            dtype=Array(Int64),
            tags={"vocabulary": "item_id", "sequence": "recent"},
            description="The last 20 clicked items, newest last.",
        ),
        Field(
            name="user_recent_click_times",
            dtype=Array(UnixTimestamp),
            tags={"encoding": "times", "sequence": "recent"},
            description="When the items of user_recent_clicks were clicked.",
        ),
        *(
            Field(
                name=f"user_ctr_{category}",
                dtype=Float64,
                description=f"Clicks per impression in {category}, smoothed to users of the same age and interest.",
            )
            for category in CATEGORIES
        ),
    ],
    source=user_daily_source,
    description="Behaviour until last midnight.",
    owner="customers@shop.example",
    tags={"refresh": "nightly"},
)
