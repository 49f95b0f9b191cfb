"""What the item is, and how it, its author and its tag fared before today (in China)."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Array, Float32, Float64, Int64, String

from data_sources import item_author_daily_source, item_daily_source, item_profile_source, item_tag_daily_source
from entities import item

CATEGORICAL = {"encoding": "categorical"}

DAILY_TTL = timedelta(days=2)
"""Every item has a row for each day, so a join finds today's; one day more lets a late daily job pass."""


def daily_fields(name: str) -> list[Field]:
    return [
        Field(name=f"{name}_impressions", dtype=Int64),
        Field(name=f"{name}_click_rate", dtype=Float32),
        Field(name=f"{name}_long_view_rate", dtype=Float32),
        Field(name=f"{name}_like_rate", dtype=Float32),
        Field(name=f"{name}_profile_enter_rate", dtype=Float32),
        Field(name=f"{name}_watch_seconds", dtype=Float32),
        Field(name=f"{name}_watch_ratio", dtype=Float32),
        Field(name=f"{name}_impressions_3d", dtype=Int64),
        Field(name=f"{name}_click_rate_3d", dtype=Float32),
        Field(name=f"{name}_long_view_rate_3d", dtype=Float32),
    ]


item_profile = FeatureView(
    name="item_profile",
    entities=[item],
    schema=[
        Field(name="author_id", dtype=Int64, tags=CATEGORICAL),
        Field(name="video_type", dtype=String),
        Field(name="upload_type", dtype=String),
        Field(name="upload_date", dtype=String),
        Field(name="music_id", dtype=Int64, tags=CATEGORICAL),
        Field(name="music_type", dtype=Int64, tags=CATEGORICAL),
        Field(name="item_tag", dtype=Int64, tags={**CATEGORICAL, "vocabulary": "tag"}),
        Field(name="item_tags", dtype=Array(Int64), tags={"encoding": "list", "vocabulary": "tag"}),
        Field(name="duration_seconds", dtype=Float64),
        Field(name="server_width", dtype=Float64),
        Field(name="server_height", dtype=Float64),
        Field(name="aspect_ratio", dtype=Float64),
    ],
    source=item_profile_source,
    ttl=timedelta(0),
    description="Attributes of the video; item_tag is the first of item_tags.",
)

item_daily = FeatureView(
    name="item_daily",
    entities=[item],
    schema=[
        *daily_fields("item"),
        Field(name="item_impressions_1d", dtype=Int64),
        Field(name="item_click_rate_1d", dtype=Float32),
        Field(name="item_long_view_rate_1d", dtype=Float32),
    ],
    source=item_daily_source,
    ttl=DAILY_TTL,
    description="The item's smoothed rates over all days before, over the last three, and yesterday.",
)

# Keyed by the item, since neither spine nor request carries author or tag.
item_author_daily = FeatureView(
    name="item_author_daily",
    entities=[item],
    schema=daily_fields("author"),
    source=item_author_daily_source,
    ttl=DAILY_TTL,
    description="The same for the item's author, over all of the author's items.",
)

item_tag_daily = FeatureView(
    name="item_tag_daily",
    entities=[item],
    schema=daily_fields("tag"),
    source=item_tag_daily_source,
    ttl=DAILY_TTL,
    description="The same for the item's main tag, over all items with that main tag.",
)
