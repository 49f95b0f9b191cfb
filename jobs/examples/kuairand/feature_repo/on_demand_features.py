"""Features computed from others, in the join and at a request alike."""

import pandas as pd
from feast import Field
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

from item_features import item_profile
from user_features import user_daily


@on_demand_feature_view(
    sources=[item_profile, user_daily],
    schema=[Field(name="duration_over_watch_seconds", dtype=Float64)],
    description="The video's duration over the time that the user watches a video on average.",
)
def duration_fit(inputs: pd.DataFrame) -> pd.DataFrame:
    ratio = inputs["duration_seconds"].astype("float64") / inputs["user_watch_seconds"].astype("float64")
    # An average of 0 seconds has no ratio: unknown, not infinite.
    return pd.DataFrame({"duration_over_watch_seconds": ratio.replace(float("inf"), float("nan"))})
