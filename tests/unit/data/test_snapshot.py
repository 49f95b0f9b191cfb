"""Building, finding again and opening training sets, over a real Feast repo."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from mtl_ray.data import snapshot as snapshot_module
from mtl_ray.data.building import inputs as inputs_module
from mtl_ray.data.feature_store import FeaturesConfig
from mtl_ray.data.manifest import Manifest
from mtl_ray.data.packing import unpacked
from mtl_ray.data.snapshot import Snapshot, TrainingSetConfig, build_training_set, open_snapshot
from mtl_ray.errors import DataError, FeatureStoreError, SnapshotError, StorageError
from mtl_ray.schema import MISSING_ID
from mtl_ray.tasks import TaskConfig
from tests.tiny_shop import apply_repo, definitions, write_sources, write_spine

TASKS: dict[str, TaskConfig] = TypeAdapter(dict[str, TaskConfig]).validate_python(
    {
        "click": {"type": "binary"},
        "stars": {"type": "multiclass", "label": "rating", "classes": [1, 2, 3]},
        "spend": {"type": "regression", "transform": "log1p", "observed_when": "click"},
    }
)


class Shop:
    """Data, an applied repo and the arguments of `build_training_set`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write_sources(root / "data")
        write_spine(root / "spine")
        apply_repo(root / "repo", definitions(root / "data"))
        self.features = FeaturesConfig(
            repo=str(root / "repo"),
            service="tiny_v1",
            keys=("user_id", "item_id"),
            context={"hour": "categorical"},
        )

    def config(self, **changes: Any) -> TrainingSetConfig:
        return TrainingSetConfig.model_validate(
            {
                "spine": str(self.root / "spine"),
                "split": {"validation": 0.1, "test": 0.2},
                "rows_per_shard": 300,
                **changes,
            }
        )

    def build(self, storage: Path, tasks: dict[str, TaskConfig] = TASKS, **changes: Any) -> Snapshot:
        return build_training_set(str(storage), self.features, self.config(**changes), tasks, "user_id")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def built(shop: Shop) -> Snapshot:
    return shop.build(shop.root / "runs")


def table(snapshot: Snapshot, part: str) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path, _ in snapshot.files(part))


def checksums(snapshot: Snapshot) -> dict[str, str]:
    return {
        str(file.relative_to(snapshot.path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(snapshot.path.rglob("*.parquet"))
    }


def test_every_row_lands_in_its_part_once(built: Snapshot) -> None:
    rows = {part: table(built, part)["row_id"].to_numpy() for part in ("train", "validation", "test")}
    assert built.manifest.rows == {"train": 700, "validation": 100, "test": 200}
    assert {part: ids.size for part, ids in rows.items()} == built.manifest.rows
    assert sorted(rows["train"]) == list(range(700))
    assert list(rows["train"]) != sorted(rows["train"])  # permuted, so that shards are mixed
    assert list(rows["validation"]) == list(range(700, 800))
    assert list(rows["test"]) == list(range(800, 1000))
    assert [count for _, count in built.files("train")] == [300, 300, 100]


def test_columns_keep_the_contract(built: Snapshot) -> None:
    schema = built.schema
    assert [feature.name for feature in schema.categorical] == ["user_id", "item_id", "city", "hour"]
    assert schema.numeric == ("age", "price", "evening_price", "age__missing")
    assert [(item.name, item.vocabulary, item.max_length) for item in schema.lists] == [("recent", "item_id", 50)]
    assert schema.tasks == ("click", "stars", "spend")
    arrow = table(built, "test").schema
    widths = {
        "categorical": (4, pa.int32()),
        "numeric": (4, pa.float32()),
        "list_recent": (50, pa.int32()),
        "labels": (3, pa.float32()),
        "observed": (3, pa.uint8()),
    }
    for name, (width, kind) in widths.items():
        field = arrow.field(name)
        assert (field.type.list_size, field.type.value_type) == (width, kind)
        assert not field.nullable
    assert arrow.field("sample_weight").type == pa.float32()
    assert arrow.field("row_id").type == pa.int64()
    assert arrow.field("event_timestamp").type == pa.timestamp("us", "UTC")
    assert arrow.field("user_id").type == pa.int64()
    assert pa.float64() not in arrow.types


def test_labels_and_observed(built: Snapshot) -> None:
    test = table(built, "test")
    row = test["row_id"].to_numpy()
    labels, observed = unpacked(test["labels"]), unpacked(test["observed"])
    click = (row % 3 == 0).astype(np.float32)
    rated = row % 5 != 0
    np.testing.assert_array_equal(labels[:, 0], click)
    np.testing.assert_array_equal(observed[:, 0], 1)
    np.testing.assert_array_equal(observed[:, 1], rated)
    np.testing.assert_array_equal(labels[:, 1], np.where(rated, row % 3, 0))
    np.testing.assert_array_equal(observed[:, 2], click)  # observed_when: click
    np.testing.assert_array_equal(labels[:, 2], np.where(click == 1, row % 11, 0))


def test_label_statistics_are_those_of_the_training_part(built: Snapshot) -> None:
    row = np.arange(700)
    spend = row[row % 3 == 0] % 11
    statistics = built.manifest.label_statistics
    assert statistics["click"].observed == 700
    assert statistics["click"].mean == pytest.approx((row % 3 == 0).mean())
    assert statistics["spend"].transformed_mean == pytest.approx(np.log1p(spend).mean())
    assert statistics["spend"].transformed_std == pytest.approx(np.log1p(spend).std())
    assert statistics["stars"].class_counts == tuple(np.bincount(row[row % 5 != 0] % 3))
    assert built.manifest.label_rates["test"]["click"].observed == 200


def test_encoded_values_come_from_the_right_rows(built: Snapshot) -> None:
    train = table(built, "train")
    preprocessing = built.manifest.preprocessing
    cities = preprocessing.vocabularies["city"].values
    ids = unpacked(train["categorical"])
    for position in range(0, 700, 37):
        user = train["user_id"][position].as_py()
        city = ids[position, 2]
        if user == 39:  # no profile
            assert city == MISSING_ID
            assert unpacked(train["list_recent"])[position].sum() == 0
        else:
            assert cities[city - 2] == f"city{user % 4}"
            items = preprocessing.vocabularies["item_id"]
            wanted = items.ids(pa.array(list(range(user % 6)), pa.int64()), "recent")
            np.testing.assert_array_equal(unpacked(train["list_recent"])[position, 50 - user % 6 :], wanted)
    age = preprocessing.numeric[0]
    assert (age.name, age.indicator) == ("age", True)
    users = train["user_id"].to_numpy()
    missing = (users % 7 == 0) | (users == 39)
    np.testing.assert_array_equal(unpacked(train["numeric"])[:, 3], missing)
    assert preprocessing.missing["age"] == pytest.approx(missing.mean())
    np.testing.assert_array_equal(unpacked(train["numeric"])[missing, 0], 0)


def test_same_inputs_are_found_again(shop: Shop, built: Snapshot) -> None:
    again = shop.build(shop.root / "runs")
    assert not built.found
    assert again.found
    assert again.path == built.path
    assert again.manifest == built.manifest


def test_same_inputs_give_byte_identical_shards_elsewhere(built: Snapshot, tmp_path: Path) -> None:
    # Other folders for storage, data and repo: places are no part of the identity.
    other = Shop(tmp_path / "moved").build(tmp_path / "elsewhere")
    assert other.manifest.id == built.manifest.id
    assert checksums(other) == checksums(built)


@pytest.mark.parametrize(
    "changes",
    [
        {"split": {"validation": 0.1, "test": 0.1}},
        {"preprocessing": {"numeric": "quantile"}},
        {"shuffle_seed": 1},
        {"sample_weight": "importance"},
    ],
)
def test_changed_config_is_another_training_set(
    shop: Shop, built: Snapshot, tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert shop.build(tmp_path, **changes).manifest.id != built.manifest.id


def test_changed_data_is_another_training_set(built: Snapshot, tmp_path: Path) -> None:
    other = Shop(tmp_path / "other")
    users = pq.read_table(tmp_path / "other" / "data" / "users.parquet")
    pq.write_table(users.slice(1), tmp_path / "other" / "data" / "users.parquet")
    assert other.build(tmp_path / "runs").manifest.id != built.manifest.id


def test_task_weight_is_no_part_of_the_training_set(shop: Shop, built: Snapshot) -> None:
    heavier = {**TASKS, "click": TASKS["click"].model_copy(update={"weight": 5.0})}
    again = shop.build(shop.root / "runs", heavier)
    assert again.found
    assert again.path == built.path


def test_sample_weight_reaches_the_shards(shop: Shop, tmp_path: Path) -> None:
    test = table(shop.build(tmp_path, sample_weight="importance"), "test")
    np.testing.assert_array_equal(test["sample_weight"].to_numpy(), 1.0 + test["row_id"].to_numpy() % 2)


def test_manifest_survives_json_exactly(built: Snapshot) -> None:
    text = (built.path / "manifest.json").read_text()
    read = Manifest.model_validate_json(text)
    assert read == built.manifest
    assert read.model_dump_json(indent=1, by_alias=True) == text


def test_progress_is_told(shop: Shop, tmp_path: Path) -> None:
    said: list[str] = []
    build_training_set(str(tmp_path), shop.features, shop.config(), TASKS, None, said.append)
    assert any("joining 1,000 spine rows" in line for line in said)


def copied(snapshot: Snapshot, to: Path) -> Path:
    subprocess.run(["cp", "-r", snapshot.path, to], check=True)
    return to


def test_a_missing_shard_is_named(built: Snapshot, tmp_path: Path) -> None:
    folder = copied(built, tmp_path / "copy")
    (folder / "train" / "part-00001.parquet").unlink()
    with pytest.raises(SnapshotError, match=r"train/part-00001\.parquet"):
        open_snapshot(folder)


def test_a_truncated_shard_is_named(built: Snapshot, tmp_path: Path) -> None:
    folder = copied(built, tmp_path / "copy")
    os.truncate(folder / "test" / "part-00000.parquet", 100)
    with pytest.raises(SnapshotError, match=r"test/part-00000\.parquet[\s\S]*100 bytes"):
        open_snapshot(folder)


def test_a_flipped_byte_is_found_by_verify(built: Snapshot, tmp_path: Path) -> None:
    folder = copied(built, tmp_path / "copy")
    file = folder / "validation" / "part-00000.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    open_snapshot(folder)
    with pytest.raises(SnapshotError, match=r"validation/part-00000\.parquet[\s\S]*sha256"):
        open_snapshot(folder, verify=True)


def test_a_damaged_manifest_is_named(built: Snapshot, tmp_path: Path) -> None:
    folder = copied(built, tmp_path / "copy")
    manifest = folder / "manifest.json"
    whole = json.loads(manifest.read_text())
    manifest.write_text(manifest.read_text()[:200])
    with pytest.raises(SnapshotError, match=r"manifest\.json"):
        open_snapshot(folder)
    manifest.write_text(json.dumps({**whole, "rows": "many"}))
    with pytest.raises(SnapshotError, match="rows"):
        open_snapshot(folder)
    manifest.write_text(json.dumps({**whole, "format_version": 99}))
    with pytest.raises(SnapshotError, match="format 99"):
        open_snapshot(folder)
    manifest.unlink()
    with pytest.raises(SnapshotError, match=r"manifest\.json[\s\S]*no such file[\s\S]*remove its folder"):
        open_snapshot(folder)
    with pytest.raises(SnapshotError, match="no such folder"):
        open_snapshot(tmp_path / "nowhere")


KILLED = """
import os, signal, sys
from pathlib import Path
from mtl_ray.data.building import inputs, pipeline
from tests.unit.data.test_snapshot import Shop, TASKS
inputs.MOST_BUCKET_ROWS = 100
prepare = pipeline.prepare_bucket
def killing(build, bucket):
    if bucket == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare(build, bucket)
pipeline.prepare_bucket = killing
Shop(Path(sys.argv[1])).build(Path(sys.argv[2]))
"""


def visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def test_a_killed_build_looks_like_nothing_and_is_gone_on_with(
    built: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "shop"), str(tmp_path / "runs")]
    assert subprocess.run(command, check=False).returncode == -9
    sets = tmp_path / "runs" / "training_sets"
    assert visible(sets) == []
    prepared = {file: file.stat().st_mtime_ns for file in sets.glob(".building/*/buckets/*/rows.parquet")}
    assert len(prepared) == 4
    seen: dict[Path, int] = {}
    move = snapshot_module.move_into_place

    def look_and_move(result: Path, final: Path) -> None:
        seen.update({file: file.stat().st_mtime_ns for file in prepared})
        move(result, final)

    monkeypatch.setattr(snapshot_module, "move_into_place", look_and_move)
    monkeypatch.setattr(inputs_module, "MOST_BUCKET_ROWS", 100)
    shop, said = Shop(tmp_path / "again"), []
    snapshot = build_training_set(str(tmp_path / "runs"), shop.features, shop.config(), TASKS, "user_id", said.append)
    assert any("4 of 10 buckets are done" in line for line in said)
    assert seen == prepared  # not one of them was written again
    assert visible(sets) == [snapshot.path]
    assert checksums(snapshot) == checksums(built)
    assert not list(sets.glob(".building/*/*"))


def test_the_cut_into_buckets_changes_nothing(
    shop: Shop, built: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs_module, "MOST_BUCKET_ROWS", 37)
    small = shop.build(tmp_path, memory_budget="1GB")
    assert checksums(small) == checksums(built)
    for part in ("preprocessing", "label_statistics", "label_rates", "rows", "missing"):
        assert getattr(small.manifest, part) == getattr(built.manifest, part)


def test_a_failed_build_leaves_nothing(shop: Shop, tmp_path: Path) -> None:
    split = {"validation_from": "2030-01-01T00:00:00+00:00", "test_from": "2030-02-01T00:00:00+00:00"}
    with pytest.raises(DataError, match="validation part of the split has no rows"):
        shop.build(tmp_path, split=split)
    assert visible(tmp_path / "training_sets") == []
    assert not list((tmp_path / "training_sets").glob(".building/*/*"))


def test_storage_that_cannot_be_written_is_refused_before_any_work(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    nowhere = FeaturesConfig(repo=str(tmp_path / "no-repo"), service="none")
    with pytest.raises(StorageError, match=f"storage = {file}"):
        build_training_set(str(file), nowhere, shop.config(), TASKS)
    with pytest.raises(StorageError, match="local"):
        build_training_set("s3://bucket/runs", nowhere, shop.config(), TASKS)


def test_a_label_that_is_a_feature_is_refused(shop: Shop, tmp_path: Path) -> None:
    tasks: dict[str, TaskConfig] = {"busy": TASKS["spend"].model_copy(update={"label": "hour", "observed_when": None})}
    with pytest.raises(DataError, match="'hour' is a feature and a label"):
        shop.build(tmp_path, tasks)


def test_a_label_that_an_on_demand_view_reads_is_refused(shop: Shop, tmp_path: Path) -> None:
    tasks: dict[str, TaskConfig] = {"busy": TASKS["spend"].model_copy(update={"label": "hour", "observed_when": None})}
    features = shop.features.model_copy(update={"context": {}})
    with pytest.raises(DataError, match="on-demand view reads 'hour', which is a label"):
        build_training_set(str(tmp_path), features, shop.config(), tasks, "user_id")


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (pa.array([None, *range(999)]), r"group key \(evaluation.group_by\) 'team' is null in 1 of 1000 rows"),
        (pa.array([0.5] * 1000), r"group key \(evaluation.group_by\) 'team' is neither an integer nor text"),
        (pa.array([2**63] * 1000, pa.uint64()), r"does not fit into 64 bits[\s\S]*9223372036854775808"),
    ],
)
def test_groups_that_no_metric_can_use_are_refused_before_the_join(
    shop: Shop, tmp_path: Path, groups: pa.Array, message: str
) -> None:
    spine = pq.read_table(shop.root / "spine").append_column("team", groups)
    pq.write_table(spine, tmp_path / "spine.parquet")
    config = shop.config(spine=str(tmp_path / "spine.parquet"))
    with pytest.raises(DataError, match=message):
        build_training_set(str(tmp_path / "runs"), shop.features, config, TASKS, "team")
    assert visible(tmp_path / "runs" / "training_sets") == []


def test_a_label_outside_its_range_is_refused_before_the_join(shop: Shop, tmp_path: Path) -> None:
    tasks: dict[str, TaskConfig] = {"click": TASKS["click"].model_copy(update={"label": "rating"})}
    with pytest.raises(DataError, match="rating"):
        shop.build(tmp_path, tasks)


def test_an_unreadable_source_is_named(tmp_path: Path) -> None:
    other = Shop(tmp_path / "other")
    (tmp_path / "other" / "data" / "items.parquet").unlink()
    with pytest.raises(FeatureStoreError, match=r"'items'[\s\S]*'item_profile'[\s\S]*items\.parquet"):
        other.build(tmp_path / "runs")
