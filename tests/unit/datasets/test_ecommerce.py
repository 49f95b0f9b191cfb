"""The simulated shop: repeatable, consistent, calibrated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from mtl_ray.datasets import DATASETS, prepare
from mtl_ray.datasets.ecommerce import prepare_ecommerce
from mtl_ray.datasets.ecommerce.simulation import Shop
from mtl_ray.errors import ConfigError, StorageError

KEYS = ["user_id", "item_id", "event_timestamp"]
PARAMETERS = {"num_users": 120, "num_items": 60, "num_days": 10, "num_impressions": 8000, "seed": 3}


@pytest.fixture(scope="module")
def spine(ecommerce: Path) -> pd.DataFrame:
    return pq.read_table(ecommerce / "spine").to_pandas()


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(ecommerce: Path, tmp_path: Path) -> None:
    prepare("ecommerce", tmp_path / "again", **PARAMETERS)
    prepare("ecommerce", tmp_path / "other", **{**PARAMETERS, "seed": 4})
    first, again, other = (_contents(folder) for folder in (ecommerce, tmp_path / "again", tmp_path / "other"))
    assert first == again
    assert set(first) == set(other)
    assert all(first[name] != other[name] for name in first)


def test_every_table_has_its_keys_and_microseconds_in_utc(ecommerce: Path) -> None:
    tables = {path.stem: pq.read_schema(path) for path in (ecommerce / "features").glob("*.parquet")}
    keys = {
        "user_profile": ["user_id"],
        "user_daily": ["user_id"],
        "item_profile": ["item_id"],
        "item_daily": ["item_id"],
        "user_item_daily": ["user_id", "item_id"],
    }
    assert set(tables) == set(keys)
    for name, schema in tables.items():
        assert [key for key in ("user_id", "item_id") if key in schema.names] == keys[name]
        assert all(schema.field(key).type == pa.int64() for key in keys[name])
        for column in ("event_timestamp", "created_timestamp"):
            assert schema.field(column).type == pa.timestamp("us", tz="UTC")


def test_feature_rows_are_unique_and_created_after_their_events(ecommerce: Path) -> None:
    for path in (ecommerce / "features").glob("*.parquet"):
        frame = pq.read_table(path).to_pandas()
        keys = [column for column in KEYS if column in frame]
        assert not frame.duplicated(keys).any(), path.name
        delay = frame["created_timestamp"] - frame["event_timestamp"]
        assert delay.between(pd.Timedelta(seconds=1), pd.Timedelta(hours=1)).all(), path.name


def test_feature_names_are_unique_and_fit_the_duckdb_store(ecommerce: Path, spine: pd.DataFrame) -> None:
    names = [
        name
        for path in (ecommerce / "features").glob("*.parquet")
        for name in pq.read_schema(path).names
        if name not in (*KEYS, "created_timestamp")
    ]
    assert len(names) == len(set(names))
    assert not set(names) & set(spine.columns)
    assert not [name for name in names if name.endswith("_y")]


def test_the_spine_is_in_the_order_of_time_with_unique_rows_in_slates(spine: pd.DataFrame) -> None:
    assert spine["event_timestamp"].is_monotonic_increasing
    assert not spine.duplicated(KEYS).any()
    assert abs(len(spine) - PARAMETERS["num_impressions"]) < 0.1 * PARAMETERS["num_impressions"]
    slates = spine.groupby(["user_id", "event_timestamp"]).size()
    assert slates.median() == 6
    first, last = spine["event_timestamp"].iloc[[0, -1]]
    assert (last.normalize() - first.normalize()).days == PARAMETERS["num_days"] - 1


def test_the_funnel_holds_and_labels_are_null_exactly_where_nothing_can_be_observed(spine: pd.DataFrame) -> None:
    assert spine[["click", "cart", "purchase"]].isin([0, 1]).all(axis=None)
    assert (spine["cart"] <= spine["click"]).all()
    assert (spine["purchase"] <= spine["cart"]).all()
    bought = spine["purchase"] == 1
    assert (spine["order_value"].notna() == bought).all()
    assert (spine.loc[bought, "order_value"] > 0).all()
    rated = spine["rating"].notna()
    assert bought[rated].all()
    assert 0 < rated.sum() < bought.sum()
    assert spine.loc[rated, "rating"].isin([1, 2, 3, 4, 5]).all()


@pytest.mark.parametrize(
    ("task", "low", "high"), [("click", 0.19, 0.26), ("cart", 0.05, 0.09), ("purchase", 0.02, 0.045)]
)
def test_label_rates_are_those_of_a_shop(spine: pd.DataFrame, task: str, low: float, high: float) -> None:
    assert low < spine[task].mean() < high


@pytest.mark.parametrize("task", ["click", "cart", "purchase"])
def test_true_probabilities_are_calibrated_in_each_fifth(ecommerce: Path, spine: pd.DataFrame, task: str) -> None:
    truth = pq.read_table(ecommerce / "truth").to_pandas()
    pd.testing.assert_frame_equal(truth[KEYS], spine[KEYS])
    fifth = pd.qcut(truth[task], 5, labels=False)
    for rows in (np.full(len(spine), True), *(fifth == index for index in range(5))):
        probability, label = truth.loc[rows, task], spine.loc[rows, task]
        deviation = np.sqrt((probability * (1 - probability)).sum())
        assert abs(label.sum() - probability.sum()) < 4 * deviation


def test_the_steps_of_the_true_funnel_only_lose(ecommerce: Path) -> None:
    truth = pq.read_table(ecommerce / "truth").to_pandas()
    assert ((truth["purchase"] < truth["cart"]) & (truth["cart"] < truth["click"])).all()
    assert (truth["purchase"] > 0).all()
    assert (truth["click"] < 1).all()


def test_the_summary_tells_rows_rates_and_the_attainable_auc(ecommerce: Path, spine: pd.DataFrame) -> None:
    summary = json.loads((ecommerce / "dataset.json").read_text())
    truth = pq.read_table(ecommerce / "truth").to_pandas()
    assert summary["parameters"] == PARAMETERS
    assert summary["rows"] == len(spine)
    assert summary["first_event"] == spine["event_timestamp"].iloc[0].floor("s").isoformat()
    for task in ("click", "cart", "purchase"):
        assert summary["labels"][task]["mean"] == pytest.approx(spine[task].mean())
        assert summary["attainable_roc_auc"][task] == pytest.approx(roc_auc_score(spine[task], truth[task]))
    assert summary["labels"]["rating"]["observed"] == spine["rating"].notna().sum()


def test_items_are_shown_only_after_their_launch_at_the_price_of_the_moment(shop: Shop, ecommerce: Path) -> None:
    impressions = pd.DataFrame(
        {
            "item_id": shop.impressions.item + 1,
            "event_timestamp": pd.to_datetime(shop.impressions.timestamp, unit="us", utc=True).astype(
                "datetime64[us, UTC]"
            ),
            "paid": shop.outcomes.price,
        }
    )
    profile = pq.read_table(ecommerce / "features" / "item_profile.parquet").to_pandas()
    joined = pd.merge_asof(impressions, profile.sort_values("event_timestamp"), on="event_timestamp", by="item_id")
    assert joined["price"].notna().all()
    np.testing.assert_array_equal(joined["price"], joined["paid"])
    assert (joined["discount"] > 0).any()


def test_popularity_moves(shop: Shop) -> None:
    first, last = shop.items.popularity[0], shop.items.popularity[-1]
    assert 0.2 < np.corrcoef(first, last)[0, 1] < 0.95


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_user": 10}, ["num_user", "did you mean num_users?", "num_impressions"]),
        ({"num_users": 3}, ["out of range", "num_users", "3", "an integer from 20 to 1000000"]),
        ({"num_days": 0}, ["num_days", "0", "an integer from 2 to 365"]),
        ({"num_impressions": "many"}, ["num_impressions", "'many'", "an integer from 200 to 100000000"]),
        ({"num_items": 40.5}, ["num_items", "40.5", "an integer from 40"]),
        ({"seed": -1}, ["seed", "-1", "an integer from 0 to 4294967295"]),
    ],
)
def test_a_bad_option_is_named_with_what_is_allowed(
    tmp_path: Path, options: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare("ecommerce", tmp_path / "out", **options)
    for word in words:
        assert word in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_unknown_data_set_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare("ecomerce", tmp_path / "out")
    assert "'ecomerce'" in str(caught.value)
    assert "did you mean ecommerce?" in str(caught.value)
    for name in DATASETS:
        assert name in str(caught.value)


def test_raw_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reads no raw files"):
        prepare_ecommerce(tmp_path / "out", raw=tmp_path)


def test_a_path_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError) as caught:
        prepare("ecommerce", tmp_path / "file" / "out", **PARAMETERS)
    assert str(tmp_path / "file" / "out") in str(caught.value)
    assert "cannot be written" in str(caught.value)
