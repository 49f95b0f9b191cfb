"""A search from the command line, and the chosen trial as a model. What a trial trains is what jobs/train.py trains."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import load_config, parse_config
from mtl_ray.data.snapshot import Snapshot, open_snapshot
from mtl_ray.errors import ConfigError, SnapshotError
from mtl_ray.training.launch import train, verified_training_set
from mtl_ray.tuning.folder import SearchFolder
from mtl_ray.tuning.promote import promote_trial
from tests import planted_conflict
from tests.tuning_search import run_job

SPACE: dict[str, Any] = {
    "space": {
        "training.optimizer.learning_rate": {"loguniform": [1e-3, 1e-1]},
        "tasks.*.weight": {"simplex": ["left", "right"]},
        "model.name": {
            "choice": ["shared_bottom", "mmoe"],
            "when": {"mmoe": {"model.num_experts": {"int": [2, 4]}, "model.expert": {"choice": [[1], [2]]}}},
        },
    },
    "objective": {"validation/left/roc_auc": 1, "validation/right/roc_auc": 1},
    "scheduler": {"name": "asha", "reduction": 2},
    "start": {"values": [{"model.name": "mmoe", "model.num_experts": 4, "model.expert": [2]}]},
}
TRIALS = 6


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tune")


@pytest.fixture(scope="module")
def unreadable(root: Path) -> dict[Path, bytes]:
    """The test part's files, and what was in them before each of their bytes was made 0."""
    tree = planted_conflict.config(root)
    (root / "config.yaml").write_text(yaml.safe_dump(tree))
    (root / "space.yaml").write_text(yaml.safe_dump(SPACE))
    snapshot = verified_training_set(parse_config(tree), lambda _: None)
    files = {Path(file): Path(file).read_bytes() for file, _ in snapshot.files("test")}
    for file, content in files.items():
        file.write_bytes(bytes(len(content)))
    return files


@pytest.fixture(scope="module")
def done(root: Path, unreadable: dict[Path, bytes]) -> subprocess.CompletedProcess[str]:
    """One search, without a test part to read."""
    assert not any(any(file.read_bytes()) for file in unreadable)
    return run_job(
        root, "--config", "config.yaml", "--space", "space.yaml", "--trials", str(TRIALS), "--concurrent", "2"
    )


@pytest.fixture(scope="module")
def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def trials(result: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(Path(result["run"]) / "trials.parquet").to_pylist()
    return rows


def test_every_trial_is_a_row_and_the_worse_ones_were_stopped(
    result: dict[str, Any], trials: list[dict[str, Any]]
) -> None:
    assert [row["number"] for row in trials] == list(range(TRIALS))
    assert result["finished"] + result["stopped"] == TRIALS
    assert result["stopped"] > 0
    assert result["epochs"] == sum(row["epochs"] for row in trials) < TRIALS * 3
    name = "objective/1·left/roc_auc + 1·right/roc_auc"
    for row in trials:
        both = row["validation/left/roc_auc"] + row["validation/right/roc_auc"]
        assert row[name] == pytest.approx(both)
        assert row["values/tasks.left.weight"] + row["values/tasks.right.weight"] == pytest.approx(2.0)
        assert (row.get("values/model.num_experts") is not None) == (json.loads(row["values/model.name"]) == "mmoe")
    finished = [row for row in trials if row["status"] == "finished"]
    assert all(row["epochs"] == 3 for row in finished)
    best = max(finished, key=lambda row: row[name])
    assert result["front"][0]["trial"] == best["number"]
    # Experts against one unit that both tasks share: see tests/planted_conflict.py.
    assert best[name] > trials[0][name] + 0.02


def test_it_begins_with_the_config_itself_and_with_the_declared_point(trials: list[dict[str, Any]]) -> None:
    first = json.loads(trials[0]["values"])
    assert first == {
        "training.optimizer.learning_rate": 0.03,
        "tasks.left.weight": 1.0,
        "tasks.right.weight": 1.0,
        "model.name": "shared_bottom",
    }
    second = json.loads(trials[1]["values"])
    assert (second["model.num_experts"], second["model.expert"]) == (4, [2])


def snapshot_of(result: dict[str, Any]) -> Snapshot:
    return open_snapshot(SearchFolder.open(result["run"]).asked().training_set)


@pytest.mark.usefixtures("ray_cluster")
def test_a_trial_is_what_jobs_train_trains(result: dict[str, Any]) -> None:
    run = Path(result["run"])
    number = result["front"][0]["trial"]
    config = load_config(run / "front" / f"trial-{number}.yaml")
    assert config.name == f"shared-trial-{number}"
    row = pq.read_table(run / "trials.parquet").to_pylist()[number]
    trained = train(config, silent, silent, snapshot_of(result))
    mine = load_checkpoint(trained.run.checkpoint("best"))
    kept = load_checkpoint(run / row["checkpoint"])
    assert kept.position == mine.position
    assert kept.config.model_copy(update={"name": config.name}) == config
    for name, tensor in mine.weights.items():
        assert torch.equal(tensor, kept.weights[name]), name
    assert row["validation/loss"] == trained.summary["best"]


@pytest.mark.usefixtures("ray_cluster")
def test_a_promoted_trial_learns_from_both_parts_and_is_tested_once(
    result: dict[str, Any], unreadable: dict[Path, bytes]
) -> None:
    trial = result["front"][0]["trial"]
    run = Path(result["run"])
    with pytest.raises(ConfigError, match=rf"allowed: +{trial} \(the front\)"):
        promote_trial(run, 99, silent)
    with pytest.raises(SnapshotError, match="damaged"):  # as it was all the time
        promote_trial(run, trial, silent)
    for file, content in unreadable.items():
        file.write_bytes(content)
    found = promote_trial(run, trial, silent)
    assert min(metrics["roc_auc"] or 0.0 for metrics in found.tasks.values()) > 0.9
    rows = sum(count for part in ("train", "validation") for _, count in snapshot_of(result).files(part))
    promoted = Path(found.run)
    assert json.loads((promoted / "summary.json").read_text())["steps"] == -(-rows // 50) * found.epochs
    assert json.loads((promoted / "promotion.json").read_text()) == found.summary()
    assert (promoted / "evaluation" / "test.json").is_file()


def silent(_: Any) -> None:
    """Receives sentences and records."""
