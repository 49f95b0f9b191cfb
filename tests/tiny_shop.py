"""A Feast repo of a few rows for the tests of mtl_ray.data: two views, a list, an on-demand view, a spine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

START = datetime(2026, 1, 1, tzinfo=UTC)
TIMESTAMP = pa.timestamp("us", "UTC")

SETTINGS = """\
project: tiny
provider: local
registry: registry.db
offline_store:
    type: mtl_ray.data.offline_store.PointInTimeOfflineStore
online_store:
    type: sqlite
    path: online.db
entity_key_serialization_version: 3
"""


def at(seconds: float) -> datetime:
    """START plus `seconds`."""
    return START + timedelta(seconds=seconds)


def write_sources(folder: Path) -> None:
    """users.parquet (40 users, one of them unknown, at two times) and items.parquet (25 items)."""
    folder.mkdir(parents=True, exist_ok=True)
    users = [{"user_id": user, "time": time} for user in range(39) for time in (0, 500)]
    pq.write_table(
        pa.table(
            {
                "user_id": pa.array([row["user_id"] for row in users]),
                "age": pa.array([None if row["user_id"] % 7 == 0 else 20.0 + row["user_id"] for row in users]),
                "city": pa.array([f"city{row['user_id'] % 4}" for row in users]),
                "recent": pa.array([list(range(row["user_id"] % 6)) for row in users], pa.list_(pa.int64())),
                "event_timestamp": pa.array([at(row["time"]) for row in users], TIMESTAMP),
                "created_timestamp": pa.array([at(row["time"]) for row in users], TIMESTAMP),
            }
        ),
        folder / "users.parquet",
    )
    pq.write_table(
        pa.table(
            {
                "item_id": pa.array(list(range(25))),
                "price": pa.array([1.5 * item for item in range(25)]),
                "event_timestamp": pa.array([at(0)] * 25, TIMESTAMP),
                "created_timestamp": pa.array([at(0)] * 25, TIMESTAMP),
            }
        ),
        folder / "items.parquet",
    )


def write_spine(path: Path, rows: int = 1000) -> None:
    """`rows` rows one second apart: click (0/1), rating (1 to 3, sometimes NULL), spend (NULL without a click)."""
    path.mkdir(parents=True, exist_ok=True)
    clicks = [int(row % 3 == 0) for row in range(rows)]
    pq.write_table(
        pa.table(
            {
                "user_id": pa.array([row % 40 for row in range(rows)]),
                "item_id": pa.array([row * 7 % 25 for row in range(rows)]),
                "event_timestamp": pa.array([at(row) for row in range(rows)], TIMESTAMP),
                "hour": pa.array([row % 24 for row in range(rows)]),
                "click": pa.array(clicks, pa.int8()),
                "rating": pa.array([None if row % 5 == 0 else 1 + row % 3 for row in range(rows)]),
                "spend": pa.array([float(row % 11) for row in range(rows)]),
                "importance": pa.array([1.0 + row % 2 for row in range(rows)]),
            }
        ),
        path / "part-0.parquet",
    )


def definitions(data: Path) -> list[Any]:
    """Entities, views, an on-demand view and the service `tiny_v1`, all over the sources in `data`."""
    from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource
    from feast.on_demand_feature_view import OnDemandFeatureView
    from feast.transformation.pandas_transformation import PandasTransformation
    from feast.types import Array, Float64, Int64, String
    from feast.value_type import ValueType

    def source(name: str) -> Any:
        return FileSource(
            name=name,
            path=str(data / f"{name}.parquet"),
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        )

    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
    users = FeatureView(
        name="user_profile",
        entities=[user],
        ttl=timedelta(days=1),
        schema=[
            Field(name="age", dtype=Float64),
            Field(name="city", dtype=String),
            Field(name="recent", dtype=Array(Int64), tags={"vocabulary": "item_id"}),
        ],
        source=source("users"),
    )
    items = FeatureView(
        name="item_profile",
        entities=[item],
        ttl=timedelta(0),
        schema=[Field(name="price", dtype=Float64)],
        source=source("items"),
    )
    request = RequestSource(name="request", schema=[Field(name="hour", dtype=Int64)])
    text = "def evening_price(inputs):\n    return pd.DataFrame({'evening_price': inputs['price'] * inputs['hour']})\n"
    evening = OnDemandFeatureView(
        name="evening",
        sources=[items, request],
        schema=[Field(name="evening_price", dtype=Float64)],
        feature_transformation=PandasTransformation(udf=evening_price, udf_string=text),
        mode="pandas",
    )
    return [user, item, users, items, evening, FeatureService(name="tiny_v1", features=[users, items, evening])]


def evening_price(inputs: pd.DataFrame) -> pd.DataFrame:
    """The on-demand view's function."""
    return pd.DataFrame({"evening_price": inputs["price"] * inputs["hour"]})


def apply_repo(folder: Path, objects: list[Any], settings: str = SETTINGS) -> None:
    """An applied Feast repo of `objects` in `folder`."""
    import feast

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "feature_store.yaml").write_text(settings)
    feast.FeatureStore(repo_path=str(folder)).apply(objects)
