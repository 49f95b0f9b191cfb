"""A training's MLflow run, in a real SQLite store."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mtl_ray.errors import ConfigError, StorageError
from mtl_ray.tracking import MlflowConfig, MlflowRun, add_metrics, add_report, check_mlflow

TREE = {"name": "small", "model": {"name": "mmoe", "expert": [16, 8]}, "features": {"repo": "r" * 7000}, "fusion": None}


@pytest.fixture(autouse=True)
def no_store_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder in a storage."""
    folder = tmp_path / "runs" / "small-20260101-000000"
    folder.mkdir(parents=True)
    return folder


def test_a_training_and_what_is_added_later(run: Path) -> None:
    (run / "config.yaml").write_text("name: small")
    (run / "report.html").write_text("<html>")
    checkpoint = run / "checkpoints" / "checkpoint_1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_text("weights")
    tracked = MlflowRun.begin(MlflowConfig(), str(run.parent), "small", TREE, run)
    tracked.log({"kind": "step", "epoch": 1, "step": 5, "train/loss": 0.5, "train/click/loss": math.nan})
    tracked.log({"kind": "epoch", "epoch": 1, "step": 9, "train/loss": 0.4, "validation/loss": 0.3, "best": True})
    tracked.log_files([run / "config.yaml"])
    tracked.register("shop ranker", checkpoint)
    tracked.end("FINISHED")
    add_metrics(run, {"test/click/roc_auc": 0.75, "test/click/gauc": None}, step=9)
    add_report(run, run / "report.html")

    client = MlflowClient(f"sqlite:///{run.parent}/mlflow.db")
    (experiment,) = [each for each in client.search_experiments() if each.name == "small"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == run.name
    assert found.info.status == "FINISHED"
    assert found.data.tags["mtl_ray.run"] == str(run)
    assert found.data.params["model.name"] == "mmoe"
    assert json.loads(found.data.params["model.expert"]) == [16, 8]
    assert len(found.data.params["features.repo"]) == 6000
    assert found.data.metrics == {
        "train/loss": 0.5,
        "train_epoch/loss": 0.4,
        "validation/loss": 0.3,
        "test/click/roc_auc": 0.75,
    }
    assert {file.path for file in client.list_artifacts(found.info.run_id)} == {
        "checkpoint",
        "config.yaml",
        "report.html",
    }
    (version,) = client.search_model_versions("name='shop ranker'")
    assert version.run_id == found.info.run_id
    assert (Path(version.source.removeprefix("file://")) / "model.safetensors").read_text() == "weights"


def test_a_second_training_is_a_second_version(run: Path) -> None:
    for name in ("first", "second"):
        (run.parent / name).mkdir()
        (run.parent / name / "weights").write_text(name)
        tracked = MlflowRun.begin(MlflowConfig(), str(run.parent), "small", TREE, run.parent / name)
        tracked.register("ranker", run.parent / name)
    versions = MlflowClient(f"sqlite:///{run.parent}/mlflow.db").search_model_versions("name='ranker'")
    assert sorted(int(version.version) for version in versions) == [1, 2]


def test_a_server_that_does_not_answer(run: Path) -> None:
    with pytest.raises(StorageError, match="MLflow store cannot be used") as caught:
        MlflowRun.begin(MlflowConfig(uri="http://127.0.0.1:9"), str(run.parent), "small", TREE, run)
    assert "http://127.0.0.1:9" in str(caught.value)
    assert "tracking.mlflow=null" in str(caught.value)


def test_a_store_that_is_lost_is_warned_of_once_and_costs_nothing(run: Path) -> None:
    tracked = MlflowRun.begin(MlflowConfig(), str(run.parent), "small", TREE, run)
    MlflowClient(tracked.uri).delete_run(tracked.run_id)
    with pytest.warns(UserWarning, match="has not taken everything"):
        tracked.log({"kind": "step", "epoch": 1, "step": 1, "train/loss": 0.5})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracked.log({"kind": "step", "epoch": 1, "step": 2, "train/loss": 0.5})


def test_a_report_of_a_run_whose_store_is_gone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{run.parent}/other.db")
    MlflowRun.begin(MlflowConfig(), str(run.parent), "small", TREE, run)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.warns(UserWarning, match="nothing is added to the MLflow run"):
        add_metrics(run, {"test/click/roc_auc": 0.75}, step=9)


def test_no_password_is_written_down(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="holds no passwords") as caught:
        check_mlflow(MlflowConfig(uri="https://me:secret@mlflow.example.org"), str(run.parent))
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(StorageError) as refused:
        check_mlflow(MlflowConfig(), str(run.parent))
    assert "secret" not in str(refused.value)


def test_remote_storage_needs_a_store() -> None:
    with pytest.raises(ConfigError, match="needs a store"):
        check_mlflow(MlflowConfig(), "s3://bucket/runs")


def test_mlflow_is_an_optional_dependency(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtl_ray.tracking.mlflow_run.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"mtl-ray\[mlflow\]"):
        check_mlflow(MlflowConfig(), str(run.parent))
