"""The KuaiRand example's Feast repo, applied to prepared data: every value is the latest before the impression."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from mtl_ray.data.feature_store import FeatureRepo, FeaturesConfig
from mtl_ray.data.sequences import sequence_members
from mtl_ray.datasets.kuairand import prepare_kuairand
from tests.kuairand_raw import make_log, make_sequences, write_excerpt

EXAMPLE = Path(__file__).resolve().parents[3] / "jobs" / "examples" / "kuairand"
KEYS = {
    "user_profile": ["user_id"],
    "user_daily": ["user_id"],
    "user_tab_daily": ["user_id"],
    "user_recent": ["user_id"],
    "item_profile": ["item_id"],
    "item_daily": ["item_id"],
    "item_author_daily": ["item_id"],
    "item_tag_daily": ["item_id"],
    "user_item_daily": ["user_id", "item_id"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kuairand")
    prepare_kuairand(folder / "data", write_excerpt(folder / "raw", make_log(), make_sequences()))
    return folder / "data"


@pytest.fixture(scope="module")
def repo(data: Path) -> FeatureRepo:
    """The repo as `feast apply` leaves it, opened with the example's own config."""
    folder = data.parent / "feature_repo"
    shutil.copytree(EXAMPLE / "feature_repo", folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    (folder / "data").mkdir()
    done = subprocess.run(
        [Path(sys.executable).with_name("feast"), "apply"],
        cwd=folder,
        env={**os.environ, "KUAIRAND_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    features = yaml.safe_load((EXAMPLE / "config.yaml").read_text(encoding="utf-8"))["features"]
    return FeatureRepo(FeaturesConfig(**{**features, "repo": str(folder)}))


def test_every_column_is_a_feature_and_every_feature_has_a_column(repo: FeatureRepo, data: Path) -> None:
    stored = {
        column
        for table, keys in KEYS.items()
        for column in pq.read_schema(data / "features" / f"{table}.parquet").names
        if column not in (*keys, "event_timestamp", "created_timestamp", "music_id")
    }
    served = {feature.name for feature in repo.spec.features if feature.source not in ("key", "context")}
    assert served == stored | {"duration_over_watch_seconds"}
    shared = {feature.name: feature.vocabulary for feature in repo.spec.features if feature.encoding == "list"}
    histories = {
        "recent": {
            "recent_items": "item_id",
            "recent_authors": "author_id",
            "recent_tags": "tag",
            "recent_times": None,
        },
        "long_views": {
            "recent_long_views": "item_id",
            "recent_long_view_authors": "author_id",
            "recent_long_view_tags": "tag",
            "recent_long_view_times": None,
        },
    }
    lists = {
        name: shared_with for columns in histories.values() for name, shared_with in columns.items() if shared_with
    }
    assert shared == {**lists, "item_tags": "tag"}
    members = sequence_members(repo.spec.features)
    assert {name: {f.name: f.vocabulary for f in features} for name, features in members.items()} == histories
    candidate = {feature.vocabulary for feature in repo.spec.features if feature.encoding == "categorical"}
    assert {"item_id", "author_id", "tag"} <= candidate


def test_join_gives_each_impression_the_latest_row_before_it(repo: FeatureRepo, data: Path) -> None:
    table = pq.read_table(data / "spine" / "part-0.parquet")
    joined = repo.historical(table).to_pandas()
    spine = table.select(["user_id", "item_id", "event_timestamp"]).to_pandas()
    spine["row_id"] = np.arange(len(spine))
    assert joined["row_id"].tolist() == spine["row_id"].tolist()
    for name, keys in KEYS.items():
        features = pq.read_table(data / "features" / f"{name}.parquet").to_pandas()
        expected = pd.merge_asof(spine, features.sort_values("event_timestamp"), on="event_timestamp", by=keys)
        if name == "user_item_daily":
            # A pair has a row for each of its own days and no other, so yesterday's may not stand in.
            assert expected["created_timestamp"].notna().mean() > 0.5
        for column in features.columns.difference([*keys, "event_timestamp", "created_timestamp", "music_id"]):
            found, wanted = joined[column], expected[column]
            assert found.isna().tolist() == wanted.isna().tolist(), (name, column)
            present = wanted.notna()
            if isinstance(wanted[present].iloc[0], (list, np.ndarray)):
                assert [list(v) for v in found[present]] == [list(v) for v in wanted[present]], (name, column)
            else:
                assert found[present].tolist() == wanted[present].tolist(), (name, column)
    ratio = joined["duration_seconds"] / joined["user_watch_seconds"]
    assert ratio.notna().any()
    np.testing.assert_allclose(joined["duration_over_watch_seconds"], ratio, rtol=1e-6)
