"""A worker process that dies in mid-epoch costs time, not results: the same seed gives the same model bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from mtl_ray.checkpoint import ModelContext
from mtl_ray.config import Config, parse_config
from mtl_ray.errors import MtlRayError
from mtl_ray.tracking import read_metrics
from mtl_ray.training.launch import TrainingOutcome, model_context, train
from tests.fault.one_kill import OneKill, assert_same_model

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


@pytest.mark.parametrize(
    "torn", [pytest.param(False, id="whole", marks=pytest.mark.slow), pytest.param(True, id="torn")]
)
def test_the_run_goes_on_from_its_checkpoint_and_ends_with_the_same_model(
    config: Config, undisturbed: TrainingOutcome, torn: bool
) -> None:
    """Also where the newest checkpoint is torn: from the one before it."""
    kill = OneKill(config, tear=torn)
    disturbed = kill.outcome
    assert_same_model(undisturbed, disturbed)
    weights = {
        run: [r["train/click/weight"] for r in read_metrics(run / "metrics.jsonl") if r["kind"] == "epoch"]
        for run in (undisturbed.run.path, disturbed.run.path)
    }
    assert weights[undisturbed.run.path] == weights[disturbed.run.path][-3:]
    assert weights[undisturbed.run.path][:2] == [1.0, 1.0]
    assert weights[undisturbed.run.path][2] != 1.0
    steps = [r["step"] for r in read_metrics(disturbed.run.path / "metrics.jsonl") if r["kind"] == "step"]
    assert len(steps) > len(set(steps)), "no step was repeated: the worker was not restarted"
    assert kill.resumed == [0, kill.recorded[1 if torn else 0]]
    assert ray.is_initialized()


@pytest.mark.slow
@pytest.mark.parametrize(
    "weighting",
    [{"name": "uncertainty"}, {"name": "gradnorm", "every": 5}, {"name": "famo"}],
    ids=lambda weighting: str(weighting["name"]),
)
def test_what_a_weighting_has_learnt_is_not_lost(config: Config, weighting: dict[str, Any]) -> None:
    tree = config.model_dump(mode="json")
    tree["training"]["epochs"] = 2
    balanced = parse_config({**tree, "weighting": weighting, "aggregation": {"name": "sum"}})
    undisturbed = train(balanced, lambda _: None, lambda _: None)
    kill = OneKill(balanced)
    assert_same_model(undisturbed, kill.outcome)
    assert kill.resumed[1] > 0


def test_an_error_that_would_come_again_is_not_tried_again(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers lack what a task is built with."""

    def lacking(*of: Any) -> ModelContext:
        return model_context(*of).model_copy(update={"label_statistics": {}})

    monkeypatch.setattr("mtl_ray.training.launch.model_context", lacking)
    training = config.training.model_copy(update={"max_failures": 20})
    with pytest.raises(MtlRayError, match=next(iter(config.tasks))) as caught:
        train(config.model_copy(update={"training": training}), lambda _: None, lambda _: None)
    assert "KeyError" in str(caught.value)
    assert "run:" in str(caught.value)
