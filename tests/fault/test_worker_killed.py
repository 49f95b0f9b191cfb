"""A worker process that dies in mid-epoch costs time, not results: the same seed gives the same model bit for bit."""

from __future__ import annotations

from typing import Any

import psutil
import pytest
import ray
import torch

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import parse_config
from mtl_ray.tracking import read_metrics
from mtl_ray.training.launch import train

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_the_run_goes_on_from_its_checkpoint_and_ends_with_the_same_model(shop: Any) -> None:
    # The third epoch's weights come from the mean losses of the first two, one of which was cut in two.
    training = {**shop.config["training"], "epochs": 3, "checkpoint_every": 8, "log_every": 1, "max_failures": 1}
    model = {**shop.config["model"], "dropout": 0.1, "norm": "batch", "expert_dropout": 0.2, "load_balance": 0.1}
    balance = {"weighting": {"name": "dwa"}, "aggregation": {"name": "nash_mtl"}}
    config = parse_config({**shop.config, "training": training, "model": model, **balance})
    undisturbed = train(config, lambda _: None, lambda _: None)
    killed: list[int] = []

    def kill_once(record: dict[str, Any]) -> None:
        if not killed and record["kind"] == "step" and record["epoch"] == 2 and record["epoch_step"] >= 6:
            workers = [
                process
                for process in psutil.Process().children(recursive=True)
                if "TrainWorker" in " ".join(process.cmdline())
            ]
            killed.append(workers[0].pid)
            workers[0].kill()

    disturbed = train(config, lambda _: None, kill_once)
    assert killed
    first = load_checkpoint(undisturbed.run.checkpoint("last"))
    second = load_checkpoint(disturbed.run.checkpoint("last"))
    assert second.position == first.position
    for name, tensor in first.weights.items():
        assert torch.equal(tensor, second.weights[name]), name
    weights = {
        run: [r["train/click/weight"] for r in read_metrics(run / "metrics.jsonl") if r["kind"] == "epoch"]
        for run in (undisturbed.run.path, disturbed.run.path)
    }
    assert weights[undisturbed.run.path] == weights[disturbed.run.path]
    assert weights[undisturbed.run.path][:2] == [1.0, 1.0]
    assert weights[undisturbed.run.path][2] != 1.0
    steps = [r["step"] for r in read_metrics(disturbed.run.path / "metrics.jsonl") if r["kind"] == "step"]
    assert len(steps) > len(set(steps)), "no step was repeated: the worker was not restarted"
    assert ray.is_initialized()
