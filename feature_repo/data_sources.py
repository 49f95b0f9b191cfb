"""The feature tables that `python jobs/prepare.py --dataset ecommerce --out data/ecommerce` writes.

ECOMMERCE_DATA names another folder, or a URI such as s3://bucket/data/ecommerce. Local paths are absolute: Feast's
duckdb store does not resolve relative ones.
"""

import os
from pathlib import Path

from feast import FileSource

_FOLDER = os.environ.get("ECOMMERCE_DATA", str(Path(__file__).resolve().parent.parent / "data" / "ecommerce"))
DATA = _FOLDER.rstrip("/") if "://" in _FOLDER else str(Path(_FOLDER).absolute())


def _table(name: str, description: str, owner: str) -> FileSource:
    return FileSource(
        name=name,
        path=f"{DATA}/features/{name}.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        description=description,
        owner=owner,
    )


user_profile_source = _table("user_profile", "One row a user, at sign-up.", "customers@shop.example")
user_daily_source = _table("user_daily", "One row a user and midnight.", "customers@shop.example")
item_profile_source = _table("item_profile", "One row an item and price change.", "catalogue@shop.example")
item_daily_source = _table("item_daily", "One row an item and midnight.", "catalogue@shop.example")
user_item_daily_source = _table(
    "user_item_daily", "One row a pair and midnight after a day on which it changed.", "ranking@shop.example"
)
