"""What a model reads: the contract between features and training."""

from feast import FeatureService

from interaction_features import user_item_daily
from item_features import item_author_daily, item_daily, item_profile, item_tag_daily
from on_demand_features import duration_fit
from user_features import user_daily, user_profile, user_recent, user_tab_daily

ranking_mtl_v1 = FeatureService(
    name="ranking_mtl_v1",
    features=[
        user_profile,
        user_daily,
        user_tab_daily,
        user_recent,
        # music_id is left out: nearly every video has a music of its own.
        item_profile[
            [
                "author_id",
                "video_type",
                "upload_type",
                "upload_date",
                "music_type",
                "item_tag",
                "item_tags",
                "duration_seconds",
                "server_width",
                "server_height",
                "aspect_ratio",
            ]
        ],
        item_daily,
        item_author_daily,
        item_tag_daily,
        user_item_daily,
        duration_fit,
    ],
    description="All features of the multi-task ranking model on KuaiRand-Pure.",
)
