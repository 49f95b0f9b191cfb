"""Who the user is, and what the user did before today (in China)."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Array, Float32, Float64, Int64, String, UnixTimestamp

from data_sources import user_daily_source, user_profile_source, user_recent_source, user_tab_daily_source
from entities import user

CATEGORICAL = {"encoding": "categorical"}

DAILY_TTL = timedelta(days=2)
"""Every user has a row for each day, so a join finds today's; one day more lets a late daily job pass."""

TABS = (0, 1, 2, 4, 6)


def history(sequence: str, items: str, others: str, what: str) -> list[Field]:
    """Item, author, main tag and time of each event, with the vocabularies of the candidate's own."""
    ids = ((items, "item_id"), (f"{others}_authors", "author_id"), (f"{others}_tags", "tag"))
    return [
        *(
            Field(
                name=name,
                dtype=Array(Int64),
                tags={"encoding": "list", "vocabulary": vocabulary, "sequence": sequence},
                description=f"{vocabulary} of {what}, newest last; -1 where unknown.",
            )
            for name, vocabulary in ids
        ),
        Field(
            name=f"{others}_times",
            dtype=Array(UnixTimestamp),
            tags={"encoding": "times", "sequence": sequence},
            description=f"Times of {what}; of those before the log, which are not known, the time of the user's last "
            "impression before it.",
        ),
    ]


# The raw file gives no time: attributes are taken to hold for the whole log.
user_profile = FeatureView(
    name="user_profile",
    entities=[user],
    schema=[
        Field(name="user_active_degree", dtype=String),
        *(
            Field(name=name, dtype=Int64, tags=CATEGORICAL)
            for name in ("is_lowactive_period", "is_live_streamer", "is_video_author")
        ),
        *(Field(name=name, dtype=Float64) for name in ("follow_user_num", "fans_user_num", "friend_user_num")),
        Field(name="register_days", dtype=Float64),
        *(
            Field(name=f"{name}_range", dtype=String)
            for name in ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
        ),
        *(Field(name=f"onehot_feat{number}", dtype=Int64, tags=CATEGORICAL) for number in range(18)),
    ],
    source=user_profile_source,
    ttl=timedelta(0),
    description="30 attributes of the user; those called onehot are anonymised codes.",
)

user_daily = FeatureView(
    name="user_daily",
    entities=[user],
    schema=[
        Field(name="user_impressions", dtype=Int64),
        Field(name="user_click_rate", dtype=Float32),
        Field(name="user_long_view_rate", dtype=Float32),
        Field(name="user_like_rate", dtype=Float32),
        Field(name="user_profile_enter_rate", dtype=Float32),
        Field(name="user_watch_seconds", dtype=Float32),
        Field(name="user_watch_ratio", dtype=Float32),
        Field(name="user_impressions_3d", dtype=Int64),
        Field(name="user_click_rate_3d", dtype=Float32),
        Field(name="user_long_view_rate_3d", dtype=Float32),
    ],
    source=user_daily_source,
    ttl=DAILY_TTL,
    description="The user's smoothed rates over all days before, and over the last three.",
)

user_tab_daily = FeatureView(
    name="user_tab_daily",
    entities=[user],
    schema=[
        field
        for tab in TABS
        for field in (
            Field(name=f"user_tab{tab}_click_rate", dtype=Float32),
            Field(name=f"user_tab{tab}_long_view_rate", dtype=Float32),
            Field(name=f"user_tab{tab}_impressions", dtype=Int64),
        )
    ],
    source=user_tab_daily_source,
    ttl=DAILY_TTL,
    description="The user's smoothed rates in each of the five frequent tabs, over all days before.",
)

# A row holds until the next, which is why nothing expires.
user_recent = FeatureView(
    name="user_recent",
    entities=[user],
    schema=[
        *history("recent", "recent_items", "recent", "the last 50 impressions"),
        *history("long_views", "recent_long_views", "recent_long_view", "the last 50 long views"),
    ],
    source=user_recent_source,
    ttl=timedelta(0),
    description="The last 50 videos shown to the user and the last 50 viewed long, before today; newest last.",
)
