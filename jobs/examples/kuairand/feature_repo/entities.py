"""What features belong to."""

from feast import Entity, ValueType

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64, description="A user of the app.")

item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64, description="A video.")
