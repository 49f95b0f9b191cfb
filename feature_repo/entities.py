"""Who and what the features describe."""

from feast import Entity, ValueType

user = Entity(
    name="user",
    join_keys=["user_id"],
    value_type=ValueType.INT64,
    description="A customer of the shop.",
    owner="customers@shop.example",
)

item = Entity(
    name="item",
    join_keys=["item_id"],
    value_type=ValueType.INT64,
    description="An article of the catalogue.",
    owner="catalogue@shop.example",
)
