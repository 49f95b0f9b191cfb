"""Feature services beyond one view a join key: a view of the whole shop, one view under two roles, lists of numbers."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Float64, Int64, String
from feast.value_type import ValueType
from pydantic import TypeAdapter

from mtl_ray.data.feature_store import FeatureRepo, FeaturesConfig
from mtl_ray.data.snapshot import TrainingSetConfig, build_training_set
from mtl_ray.tasks import TaskConfig
from tests.tiny_shop import TIMESTAMP, apply_repo, at

TASKS: dict[str, TaskConfig] = TypeAdapter(dict[str, TaskConfig]).validate_python({"sold": {"type": "binary"}})


def write(folder: Path) -> None:
    """Members with a home town, the mood of the whole shop at two times, and a spine of sellers and buyers."""
    folder.mkdir()
    members = {
        "member_id": [1, 2, 3],
        "home": ["north", "south", "east"],
        "event_timestamp": pa.array([at(0)] * 3, TIMESTAMP),
    }
    pq.write_table(pa.table(members), folder / "members.parquet")
    mood = {"mood_now": [0.25, 0.75], "visitors": [10, 20], "event_timestamp": pa.array([at(0), at(50)], TIMESTAMP)}
    pq.write_table(pa.table(mood), folder / "mood.parquet")
    rows = range(100)
    spine = {
        "seller_id": [1 + row % 3 for row in rows],
        "buyer_id": [1 + (row + 1) % 4 for row in rows],
        "event_timestamp": pa.array([at(row) for row in rows], TIMESTAMP),
        "sold": [row % 2 for row in rows],
    }
    pq.write_table(pa.table(spine), folder / "spine.parquet")


def apply(root: Path) -> FeaturesConfig:
    member = Entity(name="member", join_keys=["member_id"], value_type=ValueType.INT64)
    members = FeatureView(
        name="member_profile",
        entities=[member],
        schema=[Field(name="home", dtype=String)],
        source=FileSource(path=str(root / "data" / "members.parquet"), timestamp_field="event_timestamp"),
    )
    mood = FeatureView(
        name="shop_mood",
        entities=[],
        schema=[Field(name="mood", dtype=Float64), Field(name="visitors", dtype=Int64)],
        source=FileSource(
            path=str(root / "data" / "mood.parquet"),
            timestamp_field="event_timestamp",
            field_mapping={"mood_now": "mood"},
        ),
    )
    service = FeatureService(name="market_v1", features=[members.with_join_key_map({"member_id": "seller_id"}), mood])
    apply_repo(root / "repo", [member, members, mood, service])
    return FeaturesConfig(repo=str(root / "repo"), service="market_v1", keys=("seller_id",))


def test_a_training_set_of_aliased_and_entityless_views(tmp_path: Path) -> None:
    write(tmp_path / "data")
    features = apply(tmp_path)
    spec = FeatureRepo(features).spec
    assert spec.join_keys == {"seller_id": "Int64"}
    assert [view.join_keys for view in spec.views] == [{"member_id": "seller_id"}, {}]
    config = TrainingSetConfig.model_validate(
        {
            "spine": str(tmp_path / "data" / "spine.parquet"),
            "split": {"validation": 0.1, "test": 0.1},
            "preprocessing": {"clip_quantiles": None},
        }
    )
    built = build_training_set(str(tmp_path / "runs"), features, config, TASKS, "buyer_id")
    joined = FeatureRepo(features).historical(pq.read_table(tmp_path / "data" / "spine.parquet").drop_columns(["sold"]))
    assert joined["mood"].to_pylist() == [0.25] * 50 + [0.75] * 50
    assert joined["visitors"].to_pylist() == [10] * 50 + [20] * 50
    assert joined["home"].to_pylist()[:4] == ["north", "south", "east", "north"]
    assert built.manifest.rows == {"train": 80, "validation": 10, "test": 10}
    assert built.schema.numeric == ("mood", "visitors")
    ages = {view.name: view.age_max for view in built.contract().views}
    assert ages["shop_mood"] == 49.0
