"""The main job, submitted to a Ray head with token authentication: its metrics, logs, MLflow run, and what remains."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from mlflow import MlflowClient

from tests.ray_head import RayHead, ray_head
from tests.remains import remaining

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def head(shop: Any) -> Iterator[RayHead]:
    """A head with no more CPUs than the workers take, whose processes report their metrics once a second, and that
    finds the shop's data."""
    fast = {"RAY_metrics_report_interval_ms": "1000", "ECOMMERCE_DATA": shop.environment["ECOMMERCE_DATA"]}
    with ray_head(num_cpus=2, environment=fast) as head:
        yield head


@pytest.mark.slow
def test_a_training_as_a_job(head: RayHead, shop: Any, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    config = {
        **shop.config,
        "storage": str(storage),
        "training": {**shop.config["training"], "epochs": 2, "log_every": 1},
        "tracking": {"mlflow": {"register_as": "shop"}},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))

    seen: set[str] = set()
    with started(head, "python", "-m", "jobs.train", "--config", str(path)) as job:
        while job.poll() is None:
            seen |= our_metrics(head)
            time.sleep(1.5)
        assert job.stdout is not None
        log = job.stdout.read()
    assert job.returncode == 0, log
    (run,) = storage.glob("small-*")
    assert json.loads(log[log.index("{\n") : log.rindex("}") + 1])["run"] == str(run)
    for rank in ("0", "1"):
        for name in ("ray_mtl_samples_per_second", "ray_mtl_input_wait_share", "ray_mtl_step"):
            assert of(seen, name, run=run.name, rank=rank), seen
    for task in config["tasks"]:
        assert of(seen, "ray_mtl_task_loss", run=run.name, rank="0", task=task)
    assert not of(seen, "ray_mtl_worker_restarts_total", run=run.name)

    lines = [line for file in head.logs.glob("worker-*.err") for line in file.read_text().splitlines()]
    for rank in (0, 1):
        assert [line for line in lines if f"run={run.name} rank={rank} epoch 2 is done" in line]

    with started(head, "python", "-m", "jobs.evaluate", "--run", str(run)) as job:
        assert job.stdout is not None
        log = job.stdout.read()
    assert job.returncode == 0, log
    client = MlflowClient(f"sqlite:///{storage}/mlflow.db")
    tracked = client.get_run(json.loads((run / "mlflow.json").read_text())["run_id"])
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["training.epochs"] == "2"
    last = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][-1]
    assert tracked.data.metrics["validation/loss"] == last["validation/loss"]
    results = json.loads((run / "evaluation" / "test.json").read_text())
    click = next(task for task in results["tasks"] if task["task"] == "click")
    assert tracked.data.metrics["test/click/roc_auc"] == click["metrics"]["roc_auc"]["value"]
    files = {file.path for file in client.list_artifacts(tracked.info.run_id)}
    assert {"config.yaml", "environment.json", "summary.json", "report.html", "checkpoint"} <= files
    (version,) = client.search_model_versions("name='shop'")
    assert (Path(version.source.removeprefix("file://")) / "checksums.json").is_file()

    assert remaining(head) == []


def started(head: RayHead, *entrypoint: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "jobs" / "submit.py"), "--", *entrypoint]
    return subprocess.Popen(
        command, cwd=ROOT, env=head.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def our_metrics(head: RayHead) -> set[str]:
    """The names and tags, of ours, that the node exports now."""
    try:
        text = requests.get(f"{head.metrics}/metrics", timeout=30).text
    except requests.ConnectionError:  # the exporter comes up after the dashboard
        return set()
    return {line.rsplit(" ", 1)[0] for line in text.splitlines() if line.startswith("ray_mtl_")}


def of(seen: set[str], name: str, **tags: str) -> list[str]:
    wanted = [f'{key}="{value}"' for key, value in tags.items()]
    return [each for each in seen if each.startswith(name + "{") and all(tag in each for tag in wanted)]
