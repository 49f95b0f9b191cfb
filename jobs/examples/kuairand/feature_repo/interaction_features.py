"""What the user did with this item, its author and its tag before today (in China)."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Float32, Int64

from data_sources import user_item_daily_source
from entities import item, user

# The table has rows for the pairs of the log and no others: all pairs would be too many. That a row is there says
# nothing of the outcome, since every impression has one, and its values come from earlier days alone. A server
# computes the rows of the candidates that it is about to rank.
user_item_daily = FeatureView(
    name="user_item_daily",
    entities=[user, item],
    schema=[
        field
        for kind in ("item", "author", "tag")
        for field in (
            Field(name=f"user_{kind}_impressions", dtype=Int64),
            Field(name=f"user_{kind}_click_rate", dtype=Float32),
            Field(name=f"user_{kind}_long_view_rate", dtype=Float32),
        )
    ],
    source=user_item_daily_source,
    ttl=timedelta(days=1),
    description="The user's smoothed rates with the item, its author and its main tag over all days before; null rates "
    "where there were no impressions.",
)
