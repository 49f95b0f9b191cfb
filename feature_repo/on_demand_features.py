"""Features of the user and the item together, computed at retrieval, offline and online alike."""

import pandas as pd
from feast import Field
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

from item_features import item_profile
from user_features import user_daily, user_profile


@on_demand_feature_view(
    sources=[user_profile, user_daily, item_profile],
    # Feast 0.67 compares these with the fields that it infers, which carry no description: it refuses any other.
    schema=[
        # Log of the price over the user's average order value; null before the first order.
        Field(name="price_to_order_value", dtype=Float64),
        # The user's click rate in the item's category; null where either is unknown.
        Field(name="category_affinity", dtype=Float64),
        # 1 if the item is of the category that the user named at sign-up; null where unknown.
        Field(name="is_signup_interest", dtype=Float64),
    ],
    mode="pandas",
    description="The item as this user sees it.",
    owner="ranking@shop.example",
    tags={"refresh": "at request"},
)
def user_item_match(inputs: pd.DataFrame) -> pd.DataFrame:
    # Feast stores the source of this function and runs it elsewhere: everything it uses is defined inside.
    import numpy as np

    def number(name: str) -> pd.Series:
        return pd.to_numeric(inputs[name], errors="coerce").astype("float64")

    category, interest = inputs["category"], inputs["signup_interest"]
    affinity = pd.Series(np.nan, index=inputs.index, dtype="float64")
    for name in ("beauty", "books", "electronics", "fashion", "garden", "grocery", "sports", "toys"):
        affinity = affinity.mask(category == name, number(f"user_ctr_{name}"))
    matches = (category == interest).astype("float64").where(category.notna() & interest.notna())
    return pd.DataFrame(
        {
            "price_to_order_value": np.log(number("price")) - np.log(number("user_average_order_value")),
            "category_affinity": affinity,
            "is_signup_interest": matches,
        },
        index=inputs.index,
    )
