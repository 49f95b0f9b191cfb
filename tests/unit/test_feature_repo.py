"""The reference Feast repo, applied and queried as a user would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore

from mtl_ray.datasets.ecommerce import prepare_ecommerce

REPO = Path(__file__).resolve().parents[2] / "feature_repo"
VIEWS = {
    "user_profile": ["user_id"],
    "user_daily": ["user_id"],
    "item_profile": ["item_id"],
    "item_daily": ["item_id"],
    "user_item_daily": ["user_id", "item_id"],
}
ON_DEMAND = ["price_to_order_value", "category_affinity", "is_signup_interest"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "ecommerce"
    prepare_ecommerce(folder, num_users=80, num_items=50, num_days=6, num_impressions=2500, seed=1)
    return folder


@pytest.fixture(scope="module")
def repo(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repo after `feast apply` on the command line."""
    folder = tmp_path_factory.mktemp("repo") / "feature_repo"
    shutil.copytree(REPO, folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    applied = subprocess.run(
        [str(Path(sys.executable).parent / "feast"), "apply"],
        cwd=folder,
        env={**os.environ, "ECOMMERCE_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert applied.returncode == 0, applied.stderr
    assert "Created feature service ranking_mtl_v1" in applied.stdout
    assert "DeprecationWarning" not in applied.stderr
    return folder


@pytest.fixture(scope="module")
def store(repo: Path) -> FeatureStore:
    return FeatureStore(repo_path=str(repo))


@pytest.fixture(scope="module")
def spine(data: Path) -> pd.DataFrame:
    return pq.read_table(data / "spine").to_pandas()


@pytest.fixture(scope="module")
def retrieved(store: FeatureStore, spine: pd.DataFrame) -> pa.Table:
    """The features of the spine and of one more row: a user and an item that nobody knows."""
    stranger = spine.tail(1).assign(user_id=10**6, item_id=10**6)
    entities = pd.concat([spine, stranger])[["user_id", "item_id", "event_timestamp", "click"]]
    return store.get_historical_features(entities, store.get_feature_service("ranking_mtl_v1")).to_arrow()


def _by_key(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas().sort_values(["event_timestamp", "user_id", "item_id"], ignore_index=True)


def test_every_row_of_the_spine_comes_back_with_its_label(retrieved: pa.Table, spine: pd.DataFrame) -> None:
    keys = ["user_id", "item_id", "event_timestamp", "click"]
    found = _by_key(retrieved)
    assert len(found) == len(spine) + 1
    known = found[found["user_id"] < 10**6].reset_index(drop=True)
    expected = spine[keys].sort_values(["event_timestamp", "user_id", "item_id"], ignore_index=True)
    pd.testing.assert_frame_equal(known[keys], expected)


@pytest.mark.parametrize("view", VIEWS)
def test_values_are_the_last_known_at_the_time_of_the_row(
    retrieved: pa.Table, store: FeatureStore, data: Path, view: str
) -> None:
    found = _by_key(retrieved)
    features = [field.name for field in store.get_feature_view(view).features]
    source = pq.read_table(data / "features" / f"{view}.parquet").to_pandas().sort_values("event_timestamp")
    keys = VIEWS[view]
    assert set(source.columns) == {*keys, *features, "event_timestamp", "created_timestamp"}
    ttl = store.get_feature_view(view).ttl
    expected = pd.merge_asof(
        found[["user_id", "item_id", "event_timestamp"]],
        source[[*keys, "event_timestamp", *features]],
        on="event_timestamp",
        by=keys,
        tolerance=pd.Timedelta(ttl),
    )
    for name in features:
        for one, other in zip(found[name], expected[name], strict=True):
            if isinstance(other, np.ndarray):
                np.testing.assert_array_equal(one, other)
            else:
                assert one == other or (pd.isna(one) and pd.isna(other)), name
    assert expected[features[0]].notna().any()


def test_on_demand_features_follow_from_the_others_and_survive_nulls(retrieved: pa.Table) -> None:
    found = _by_key(retrieved)
    ratio = np.log(found["price"] / found["user_average_order_value"])
    np.testing.assert_allclose(found["price_to_order_value"], ratio)
    assert found["user_average_order_value"].isna().any()
    assert found["price_to_order_value"].notna().any()
    for _, row in found.iterrows():
        if row["category"] is None:
            assert row[ON_DEMAND].isna().all()
        else:
            assert row["is_signup_interest"] == float(row["category"] == row["signup_interest"])
            rate = row[f"user_ctr_{row['category']}"]
            assert row["category_affinity"] == rate or (pd.isna(rate) and pd.isna(row["category_affinity"]))


def test_an_unknown_user_and_item_get_nulls(retrieved: pa.Table) -> None:
    row = retrieved.filter(pa.compute.equal(retrieved["user_id"], 10**6)).drop_columns(
        ["user_id", "item_id", "event_timestamp", "click"]
    )
    assert row.num_rows == 1
    values = row.to_pylist()[0].values()
    assert all(value is None or value != value for value in values)


def test_names_fit_one_service_and_its_types_are_those_that_the_trainer_knows(
    store: FeatureStore, retrieved: pa.Table
) -> None:
    service = store.get_feature_service("ranking_mtl_v1")
    fields = [field for view in service.feature_view_projections for field in view.features]
    names = [field.name for field in fields]
    assert len(names) == len(set(names))
    assert set(names) == set(retrieved.column_names) - {"user_id", "item_id", "event_timestamp", "click"}
    assert {str(field.dtype) for field in fields} <= {
        "String",
        "Int64",
        "Float64",
        "Array(Int64)",
        "Array(UnixTimestamp)",
    }
    vocabularies = {field.name: field.tags["vocabulary"] for field in fields if "vocabulary" in field.tags}
    assert vocabularies["user_recent_clicks"] == "item_id"
    sequences = {field.name: field.tags["sequence"] for field in fields if "sequence" in field.tags}
    assert sequences == {"user_recent_clicks": "recent", "user_recent_click_times": "recent"}
    assert set(vocabularies.values()) == {"item_id", "category"}


def test_every_view_has_owner_description_tags_and_ttl(store: FeatureStore) -> None:
    views = store.list_feature_views()
    assert {view.name for view in views} == set(VIEWS)
    for view in views:
        assert view.owner, view.name
        assert view.description, view.name
        assert view.tags, view.name
        assert view.ttl is not None, view.name
        assert view.ttl.total_seconds() > 0, view.name
    service = store.get_feature_service("ranking_mtl_v1")
    assert service.owner
    assert service.tags["version"] == "1"


def test_materialised_features_are_the_latest_and_serve_on_demand_features(
    store: FeatureStore, data: Path, spine: pd.DataFrame
) -> None:
    end = spine["event_timestamp"].iloc[-1].ceil("D").to_pydatetime()
    store.materialize(start_date=datetime(2024, 1, 1, tzinfo=UTC), end_date=end)
    store.materialize_incremental(end_date=end)
    user_id, item_id = (int(value) for value in spine[["user_id", "item_id"]].iloc[-1])
    online = store.get_online_features(
        features=store.get_feature_service("ranking_mtl_v1"),
        entity_rows=[{"user_id": user_id, "item_id": item_id}, {"user_id": 10**6, "item_id": 10**6}],
    ).to_dict()
    daily = pq.read_table(data / "features" / "user_daily.parquet").to_pandas()
    latest = daily[daily["user_id"] == user_id].sort_values("event_timestamp").iloc[-1]
    assert online["user_clicks_30d"] == [latest["user_clicks_30d"], None]
    assert online["user_recent_clicks"][0] == list(latest["user_recent_clicks"])
    # Feast keeps whole seconds online, which is what the encoding counts in offline too.
    clicked = [pd.Timestamp(time, tz="UTC").floor("s") for time in latest["user_recent_click_times"]]
    assert [pd.Timestamp(time).tz_convert("UTC") for time in online["user_recent_click_times"][0]] == clicked
    assert online["category_affinity"][0] == latest[f"user_ctr_{online['category'][0]}"]
    assert online["category_affinity"][1] is None or np.isnan(online["category_affinity"][1])


@pytest.mark.parametrize(
    ("folder", "table"),
    [
        ("s3://shop/data/ecommerce/", "s3://shop/data/ecommerce/features/user_daily.parquet"),
        ("/data/ecommerce", "/data/ecommerce/features/user_daily.parquet"),
        ("ecommerce", f"{REPO}/ecommerce/features/user_daily.parquet"),
    ],
)
def test_the_data_may_lie_anywhere(folder: str, table: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import data_sources; print(data_sources.user_daily_source.path)"],
        cwd=REPO,
        env={**os.environ, "ECOMMERCE_DATA": folder},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == [table]
