"""A user's mistakes, as the jobs meet them: a clear message, exit status 2, no worker started, nothing left behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from mtl_ray.config import parse_config
from mtl_ray.data.snapshot import build_training_set
from mtl_ray.errors import ConfigError, DataError, FeatureStoreError, SnapshotError, StorageError, UserError
from mtl_ray.training.launch import train

ROOT = Path(__file__).parents[2]


def silent(_: Any) -> None:
    """Nobody listens."""


def refusal(config: dict[str, Any], kind: type[UserError]) -> str:
    """The message of a training that must be refused before it makes a run folder."""
    storage = Path(config["storage"])
    before = set(storage.glob("*")) if storage.is_dir() else set()
    with pytest.raises(kind) as caught:
        train(parse_config(config), silent, silent)
    if storage.is_dir():
        left = {path.name for path in set(storage.glob("*")) - before}
        assert left <= {"training_sets"}
        assert not list(storage.glob("training_sets/.building/*/*"))
        assert not [path for path in storage.glob("training_sets/[!.]*") if not (path / "manifest.json").is_file()]
    return str(caught.value)


@pytest.fixture
def config(shop: Any, tmp_path: Path) -> dict[str, Any]:
    """The shop's config with a storage of its own."""
    copied: dict[str, Any] = json.loads(json.dumps(shop.config))
    return {**copied, "storage": str(tmp_path / "runs")}


@pytest.fixture
def spine(shop: Any, config: dict[str, Any], tmp_path: Path) -> Callable[[Callable[[pa.Table], pa.Table]], None]:
    """Changes the spine that the config names."""

    def change(how: Callable[[pa.Table], pa.Table]) -> None:
        changed = tmp_path / "spine"
        changed.mkdir()
        pq.write_table(how(pq.read_table(shop.root / "data" / "spine")), changed / "part-0.parquet")
        config["training_set"]["spine"] = str(changed)

    return change


def test_missing_label_column(config: dict[str, Any]) -> None:
    config["tasks"]["clik"] = {"type": "binary"}
    message = refusal(config, DataError)
    assert "clik" in message
    assert "click" in message


def test_label_outside_its_range(config: dict[str, Any], spine: Any) -> None:
    def broken(table: pa.Table) -> pa.Table:
        values = [2 if row % 10 == 7 else value for row, value in enumerate(table["click"].to_pylist())]
        return table.set_column(table.column_names.index("click"), "click", pa.array(values, pa.int64()))

    spine(broken)
    message = refusal(config, DataError)
    assert "click" in message
    assert "2" in message
    assert "row 7" in message
    assert "0, 1, false, true" in message
    assert "at most 5.0% of the rows" in message


def test_a_few_broken_rows_are_quarantined_with_their_reasons(config: dict[str, Any], spine: Any) -> None:
    def broken(table: pa.Table) -> pa.Table:
        values = table["click"].to_pylist()
        values[7] = 2
        keys = pa.array([None if row == 5 else key for row, key in enumerate(table["user_id"].to_pylist())])
        table = table.set_column(table.column_names.index("click"), "click", pa.array(values, pa.int64()))
        return table.set_column(table.column_names.index("user_id"), "user_id", keys)

    spine(broken)
    tree = parse_config(config)
    snapshot = build_training_set(config["storage"], tree.features, tree.training_set, tree.tasks, "user_id")
    rows = pq.read_table(snapshot.path / "quarantine").sort_by("row_id")
    assert rows["row_id"].to_pylist() == [5, 7]
    assert rows["reason"].to_pylist() == ["user_id is missing (join key)", "label click is refused"]
    assert snapshot.manifest.quarantined == 2
    assert snapshot.contract().reasons == {"user_id is missing (join key)": 1, "label click is refused": 1}
    written = [
        pq.read_table(path, columns=["row_id"]) for part in snapshot.manifest.files for path, _ in snapshot.files(part)
    ]
    ids = set(pa.concat_tables(written)["row_id"].to_pylist())
    assert ids.isdisjoint({5, 7})
    assert len(ids) + 2 == snapshot.manifest.spine.rows


def test_absent_feature_service(config: dict[str, Any]) -> None:
    config["features"]["service"] = "ranking_mtl_v2"
    message = refusal(config, FeatureStoreError)
    assert "ranking_mtl_v2" in message
    assert "ranking_mtl_v1" in message


def test_repo_that_was_not_applied(config: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "feature_repo", tmp_path / "repo", ignore=shutil.ignore_patterns("data", "__pycache__"))
    config["features"]["repo"] = str(tmp_path / "repo")
    assert "feast apply" in refusal(config, FeatureStoreError)


def test_spine_without_time_zone(config: dict[str, Any], spine: Any) -> None:
    def naive(table: pa.Table) -> pa.Table:
        stripped = table["event_timestamp"].cast(pa.timestamp("us"))
        return table.set_column(table.column_names.index("event_timestamp"), "event_timestamp", stripped)

    spine(naive)
    message = refusal(config, DataError)
    assert "event_timestamp" in message
    assert "time zone" in message


def test_spine_with_null_keys(config: dict[str, Any], spine: Any) -> None:
    def broken(table: pa.Table) -> pa.Table:
        keys = table["user_id"]
        mask = pa.array([row % 10 == 3 for row in range(table.num_rows)])
        return table.set_column(table.column_names.index("user_id"), "user_id", pc.if_else(mask, None, keys))

    spine(broken)
    message = refusal(config, DataError)
    assert "user_id is missing (join key)" in message
    assert "the first in row 3" in message


def test_empty_split(config: dict[str, Any]) -> None:
    config["training_set"]["split"] = {
        "by": "time",
        "validation_from": "2050-01-01T00:00:00+00:00",
        "test_from": "2050-01-02T00:00:00+00:00",
    }
    message = refusal(config, DataError)
    assert "validation" in message
    assert "2050" in message


def test_freezing_what_is_no_part_of_the_model(config: dict[str, Any]) -> None:
    config["training"]["frozen"] = ["encoder"]
    message = refusal(config, ConfigError)
    assert "training.frozen" in message
    assert "did you mean encoders?" in message


def test_storage_that_cannot_be_written(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config["storage"] = str(tmp_path / "file" / "runs")
    assert str(tmp_path / "file" / "runs") in refusal(config, StorageError)


@pytest.mark.parametrize("damage", ["truncated", "missing", "flipped", "manifest"])
def test_damaged_training_set(config: dict[str, Any], damage: str) -> None:
    tree = parse_config(config)
    arguments = (config["storage"], tree.features, tree.training_set, tree.tasks, tree.evaluation.group_by, silent)
    snapshot = build_training_set(*arguments)
    file = Path(snapshot.files("train")[0][0]) if damage != "manifest" else snapshot.path / "manifest.json"
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "flipped":
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    else:
        file.write_bytes(content[: len(content) // 2])
    message = refusal(config, SnapshotError)
    assert str(file) in message
    assert "build it again" in message


def run_job(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_job_ends_with_status_2_and_no_traceback(config: dict[str, Any], tmp_path: Path) -> None:
    config["model"]["num_expert"] = 4
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    done = run_job("jobs/train.py", "--config", str(path))
    assert done.returncode == 2
    assert "did you mean model.num_experts?" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not Path(config["storage"]).exists()


def test_evaluating_what_is_no_run(tmp_path: Path) -> None:
    done = run_job("jobs/evaluate.py", "--run", str(tmp_path / "absent"))
    assert done.returncode == 2
    assert "holds no run" in done.stderr
    assert "Traceback" not in done.stderr


def test_preparing_an_unknown_data_set(tmp_path: Path) -> None:
    done = run_job("jobs/prepare.py", "--dataset", "ecomerce", "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "ecommerce" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
