"""A training's MLflow run, at a real tracking server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient

from mtl_ray.tracking import MlflowConfig, MlflowRun, add_metrics, check_mlflow
from tests.ray_head import free_ports


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Its address; files go through it to its own folder."""
    (port,) = free_ports(1)
    stores = ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", f"{tmp_path}/files"]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    address = f"http://127.0.0.1:{port}"
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen([*command, *stores], stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not _answers(address):
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/health", timeout=5).ok
    except requests.RequestException:
        return False


def test_a_training_at_a_server(server: str, tmp_path: Path) -> None:
    config = MlflowConfig(uri=server)
    run = tmp_path / "runs" / "small-20260101-000000"
    checkpoint = run / "checkpoints" / "checkpoint_1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_text("weights")
    (run / "config.yaml").write_text("name: small")
    assert check_mlflow(config, str(run.parent)) == server
    tracked = MlflowRun.begin(config, str(run.parent), "small", {"name": "small", "seed": 3}, run)
    tracked.log({"kind": "epoch", "epoch": 1, "step": 9, "train/loss": 0.4, "validation/loss": 0.3, "best": True})
    tracked.log_files([run / "config.yaml"])
    tracked.register("ranker", checkpoint)
    tracked.end("FINISHED")
    add_metrics(run, {"test/click/roc_auc": 0.75}, step=9)

    client = MlflowClient(server)
    (experiment,) = [each for each in client.search_experiments() if each.name == "small"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.data.params["seed"] == "3"
    assert found.data.metrics == {"train_epoch/loss": 0.4, "validation/loss": 0.3, "test/click/roc_auc": 0.75}
    assert {file.path for file in client.list_artifacts(found.info.run_id)} == {"checkpoint", "config.yaml"}
    (version,) = client.search_model_versions("name='ranker'")
    assert version.run_id == found.info.run_id
    weights = client.download_artifacts(found.info.run_id, "checkpoint/model.safetensors", str(tmp_path))
    assert Path(weights).read_text() == "weights"
