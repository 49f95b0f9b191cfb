"""A trial as Tune's actor drives it, epoch by epoch: cut off, followed by another, taking over another's weights."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import parse_config
from mtl_ray.training.launch import verified_training_set
from mtl_ray.tuning.objective import objective_of
from mtl_ray.tuning.one_worker import LAST, OneWorkerTrial
from mtl_ray.tuning.trial import JUDGED, KEPT, UNDEFINED, TrialSetup
from tests import planted_conflict

LEFT = "validation/left/roc_auc"
RATE = "training.optimizer.learning_rate"


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> TrialSetup:
    root = tmp_path_factory.mktemp("one_worker")
    tree = planted_conflict.config(root, number=2_000)
    config = parse_config(tree)
    objective = objective_of(LEFT, {})
    snapshot = verified_training_set(config, lambda _: None).place
    return TrialSetup(config.model_dump(mode="json"), snapshot, str(root), objective, objective)


def begun(setup: TrialSetup, **values: Any) -> OneWorkerTrial:
    """A trial without the actor around it."""
    trial: OneWorkerTrial = object.__new__(OneWorkerTrial)
    trial.setup(config_of(**values), setup)
    return trial


def config_of(**values: Any) -> dict[str, Any]:
    return {"point": {"values": {RATE: 0.03, **values}, "seed": 5, "number": 0}}


def validation(result: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in result.items() if name.startswith(("validation/", "train/"))}


def to_its_end(trial: OneWorkerTrial) -> list[dict[str, Any]]:
    results = [trial.step()]
    while not results[-1]["done"]:
        results.append(trial.step())
    return results


def saved(trial: OneWorkerTrial, folder: Path) -> Path:
    folder.mkdir()
    trial.save_checkpoint(str(folder))
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder).weights


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_trial_reports_every_epoch_and_then_is_done(setup: TrialSetup) -> None:
    results = to_its_end(begun(setup))
    assert [result["epoch"] for result in results] == [1, 2, 3]
    assert [result["done"] for result in results] == [False, False, True]
    assert [result["ended"] for result in results] == ["", "", "finished"]
    for result in results:
        kept = results[result["kept_epoch"] - 1]
        assert result["objective"] == [kept[LEFT]]
        assert result[JUDGED] == kept[LEFT]
        assert result["kept"][LEFT] == kept[LEFT]
    seconds = [result["training_seconds"] for result in results]
    assert 0.0 < seconds[0] < seconds[1] < seconds[2]


def test_a_trial_that_was_cut_off_ends_as_it_would_have(setup: TrialSetup, tmp_path: Path) -> None:
    whole = begun(setup)
    results = to_its_end(whole)
    first = begun(setup)
    first.step()
    first.step()
    second = begun(setup)
    second.load_checkpoint(str(saved(first, tmp_path / "cut")))
    shutil.rmtree(tmp_path / "cut")  # as Tune does where it had to fetch it
    rest = to_its_end(second)
    assert [result["epoch"] for result in rest] == [3]
    assert validation(rest[0]) == validation(results[2])
    assert rest[0]["objective"] == results[2]["objective"]
    assert rest[0]["training_seconds"] > 0.0
    ends = [saved(trial, tmp_path / name) for trial, name in ((whole, "whole"), (second, "second"))]
    for part in (LAST, KEPT):
        assert equal(*(weights(end / part) for end in ends)), part
    position = load_checkpoint(ends[0] / KEPT).position
    assert position.best_epoch == results[2]["kept_epoch"]


def test_the_next_trial_in_an_actor_is_a_new_one(setup: TrialSetup) -> None:
    fresh = to_its_end(begun(setup, **{"tasks.left.weight": 2.0}))
    actor = begun(setup)
    to_its_end(actor)
    assert actor.reset_config(config_of(**{"tasks.left.weight": 2.0}))
    again = to_its_end(actor)
    assert [validation(result) for result in again] == [validation(result) for result in fresh]


def test_a_member_of_a_population_takes_over_weights_and_keeps_its_own_values(
    setup: TrialSetup, tmp_path: Path
) -> None:
    donor = begun(setup)
    donor.step()
    folder = saved(donor, tmp_path / "donor")
    member = begun(setup, **{RATE: 0.001, "tasks.left.weight": 4.0})
    member.step()
    assert member.reset_config(config_of(**{RATE: 0.001, "tasks.left.weight": 4.0}))
    member.load_checkpoint(str(folder))
    assert equal(weights(saved(member, tmp_path / "member") / LAST), weights(folder / LAST))
    result = member.step()
    assert result["epoch"] == 2
    assert result["train/left/weight"] == 4.0
    # A thirtieth of the rate moves the weights by far less.
    before = weights(folder / LAST)
    donor.step()
    far, near = (
        sum(float((after[name] - before[name]).abs().sum()) for name in before)
        for after in (
            weights(saved(donor, tmp_path / "donor later") / LAST),
            weights(saved(member, tmp_path / "member later") / LAST),
        )
    )
    assert near < far / 5


def test_what_cannot_go_on_is_told_and_is_done(setup: TrialSetup) -> None:
    diverging = {RATE: 1e30, "training.clip_norm": None, "training.optimizer.eps": 1e-30}
    result = to_its_end(begun(setup, **diverging))[-1]
    assert result["ended"] == "failed"
    assert result["error"].startswith("Training diverged")
    assert result["objective"] == []
    assert result[JUDGED] == UNDEFINED
    assert math.isfinite(UNDEFINED)
    together = to_its_end(begun(setup, **{"model.norm": "batch", "training.accumulate": 2}))
    assert len(together) == 1
    assert "trial with training.optimizer.learning_rate=0.03, model.norm=batch" in together[0]["error"]
