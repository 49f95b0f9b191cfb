"""A worker process that dies in mid-epoch costs time, not results: the same seed gives the same model bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import torch

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import Config, parse_config
from mtl_ray.errors import MtlRayError
from mtl_ray.tracking import read_metrics
from mtl_ray.training.launch import TrainingOutcome, batch_columns, train

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def config(shop: Any) -> Config:
    """The third epoch's weights come from the mean losses of the first two, one of which is cut in two."""
    training = {**shop.config["training"], "epochs": 3, "checkpoint_every": 8, "log_every": 1, "max_failures": 1}
    model = {**shop.config["model"], "dropout": 0.1, "norm": "batch", "expert_dropout": 0.2, "load_balance": 0.1}
    balance = {"weighting": {"name": "dwa"}, "aggregation": {"name": "nash_mtl"}}
    return parse_config({**shop.config, "training": training, "model": model, **balance})


@pytest.fixture(scope="module")
def undisturbed(config: Config, ray_cluster: None) -> TrainingOutcome:  # noqa: ARG001
    return train(config, lambda _: None, lambda _: None)


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_the_run_goes_on_from_its_checkpoint_and_ends_with_the_same_model(
    config: Config, undisturbed: TrainingOutcome, torn: bool
) -> None:
    """Also where the newest checkpoint is torn: from the one before it."""
    killed: list[int] = []
    resumed: list[int] = []
    places: list[Path] = []

    def say(sentence: str) -> None:
        if sentence.startswith("run folder "):
            places.append(Path(sentence.removeprefix("run folder ")))

    def kill_once(record: dict[str, Any]) -> None:
        if record["kind"] == "start":
            resumed.append(record["step"])
        if not killed and record["kind"] == "step" and record["epoch"] == 2 and record["epoch_step"] >= 6:
            if torn:
                tear(max(places[0].glob("checkpoints/checkpoint_*/model.safetensors")))
            workers = [
                process
                for process in psutil.Process().children(recursive=True)
                if "TrainWorker" in " ".join(process.cmdline())
            ]
            killed.append(workers[0].pid)
            workers[0].kill()

    disturbed = train(config, say, kill_once)
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
    assert weights[undisturbed.run.path] == weights[disturbed.run.path][-3:]
    assert weights[undisturbed.run.path][:2] == [1.0, 1.0]
    assert weights[undisturbed.run.path][2] != 1.0
    steps = [r["step"] for r in read_metrics(disturbed.run.path / "metrics.jsonl") if r["kind"] == "step"]
    assert len(steps) > len(set(steps)), "no step was repeated: the worker was not restarted"
    per_epoch = first.position.step // 3
    assert resumed[0] == 0
    assert resumed[1] <= per_epoch if torn else resumed[1] >= per_epoch
    assert ray.is_initialized()


def test_an_error_that_would_come_again_is_not_tried_again(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers lack a column of their input."""
    monkeypatch.setattr(
        "mtl_ray.training.launch.batch_columns",
        lambda schema: [name for name in batch_columns(schema) if name != "sample_weight"],
    )
    training = config.training.model_copy(update={"max_failures": 20})
    with pytest.raises(MtlRayError, match="sample_weight") as caught:
        train(config.model_copy(update={"training": training}), lambda _: None, lambda _: None)
    assert "KeyError" in str(caught.value)
    assert "run:" in str(caught.value)


def tear(file: Path) -> None:
    """Leave half of it, as a node that dies while it writes does."""
    with file.open("rb+") as stream:
        stream.truncate(file.stat().st_size // 2)
