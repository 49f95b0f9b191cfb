"""The contract of each model. A service that a model was trained on is never changed: a new version gets a new name."""

from feast import FeatureService

from interaction_features import user_item_daily
from item_features import item_daily, item_profile
from on_demand_features import user_item_match
from user_features import user_daily, user_profile

ranking_mtl_v1 = FeatureService(
    name="ranking_mtl_v1",
    features=[user_profile, user_daily, item_profile, item_daily, user_item_daily, user_item_match],
    description="Inputs of the multi-task ranking model: click, cart, purchase, order value, rating.",
    owner="ranking@shop.example",
    tags={"model": "ranking_mtl", "version": "1"},
)
