"""Optuna behind Tune's interface: what is told to it, and that a search that was cut off draws what it would have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from mtl_ray.tuning.objective import objective_of
from mtl_ray.tuning.searcher import OptunaSearcher, sampler_of
from mtl_ray.tuning.settings import SearcherName
from tests.unit.tuning.test_space import BY_MODEL, RATE, searched

AUC = "validation/click/roc_auc"


def searcher(name: SearcherName = "tpe", declared: Any = AUC) -> OptunaSearcher:
    return OptunaSearcher(searched({**RATE, **BY_MODEL}).space, objective_of(declared, {}), sampler_of(name, 3), 100)


def report(*objective: float, ended: str = "finished", epoch: int = 1) -> dict[str, Any]:
    return {"objective": list(objective), "ended": ended, "epoch": epoch}


def rate(point: Any) -> float:
    return float(point["values"]["training.optimizer.learning_rate"])


def test_every_trial_has_a_number_and_a_seed_of_its_own() -> None:
    own = searcher()
    points = [own.suggest(str(at))["point"] for at in range(5)]
    assert [point["number"] for point in points] == list(range(5))
    assert [point["seed"] for point in points] == list(range(100, 105))


def test_states() -> None:
    own = searcher()
    for trial in "abcde":
        own.suggest(trial)
    own.on_trial_result("b", report(0.6, ended=""))
    own.on_trial_complete("a", report(0.7))
    own.on_trial_complete("b", report(0.6, ended=""))
    own.on_trial_complete("c", report(math.nan))
    own.on_trial_complete("d", None, error=True)
    own.on_trial_complete("e", report(ended="failed"))
    own.on_trial_complete("never asked", report(0.1))
    states = [trial.state for trial in own.study.trials]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL, TrialState.FAIL]
    assert own.study.trials[1].intermediate_values == {1: 0.6}
    assert own.study.best_value == 0.7


def test_several_objectives_take_a_stopped_trial_with_what_it_reached() -> None:
    own = searcher("nsga2", (AUC, "validation/click/loss"))
    own.suggest("a")
    own.on_trial_result("a", report(0.6, 0.3, ended=""))
    own.on_trial_complete("a", report(0.6, 0.3, ended=""))
    (trial,) = own.study.best_trials
    assert trial.values == [0.6, 0.3]
    assert [direction.name for direction in own.study.directions] == ["MAXIMIZE", "MINIMIZE"]


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_a_search_that_was_cut_off_draws_what_it_would_have_drawn(tmp_path: Path, name: SearcherName) -> None:
    whole, cut = searcher(name), searcher(name)
    for own in (whole, cut):
        for at in range(12):
            point = own.suggest(str(at))["point"]
            own.on_trial_complete(str(at), report(-abs(math.log(rate(point) / 1e-3))))
    cut.suggest("running")
    cut.save(str(tmp_path / "state"))
    again = searcher(name)
    again.restore(str(tmp_path / "state"))
    whole.suggest("running")
    for own in (whole, again):
        own.on_trial_complete("running", report(0.0))
    rest = [[own.suggest(f"more {at}")["point"] for at in range(4)] for own in (whole, again)]
    assert rest[0] == rest[1]
    assert [point["number"] for point in rest[1]] == [13, 14, 15, 16]


def test_points_come_first_and_a_grid_ends() -> None:
    own = searcher("random")
    points = [{"model.name": "ple", "model.task_experts": 2}, {"training.optimizer.learning_rate": 2e-3}]
    own.begin_with(points, only=True)
    first, second = (own.suggest(trial)["point"]["values"] for trial in "ab")
    assert (first["model.name"], first["model.task_experts"]) == ("ple", 2)
    assert second["training.optimizer.learning_rate"] == 2e-3
    assert own.suggest("c") == "FINISHED"


def test_tpe_learns_from_another_search() -> None:
    own = searcher("tpe")
    for at in range(40):
        value = 10 ** (-4 + 2 * at / 39)
        own.learn({"training.optimizer.learning_rate": value, "model.name": "mmoe"}, [-abs(math.log(value / 1e-3))])
    drawn = [rate(own.suggest(str(at))["point"]) for at in range(40)]
    # 0.3 of the space, by the logarithm.
    assert sum(5e-4 < value < 2e-3 for value in drawn) > 0.45 * 40, drawn
    with pytest.raises(ValueError, match=r"training\.optimizer\.learning_rate"):
        own.learn({"training.optimizer.learning_rate": 1.0}, [0.0])


@pytest.mark.parametrize("grid", [False, True])
def test_a_suggestion_that_no_trial_came_of_is_made_again(grid: bool) -> None:
    own, whole = searcher("random"), searcher("random")
    if grid:
        for each in (own, whole):
            each.begin_with([{"training.optimizer.learning_rate": at / 1000} for at in range(1, 5)], only=True)
    expected = [whole.suggest(str(at))["point"] for at in range(4)]
    for trial in "abc":
        own.suggest(trial)
    own.on_trial_complete("a", report(0.7))
    own.on_trial_complete("c", report(0.6))
    assert not own.agree_with(["a", "b", "c"])
    assert own.agree_with(["a"])
    found = [own.suggest(trial)["point"] for trial in "def"]
    assert found == expected[1:]
    own.on_trial_complete("d", report(0.8))
    own.on_trial_complete("e", report(0.9))
    # Its trial in the study has its result already.
    assert [trial.value for trial in own.study.trials] == [0.7, 0.8, 0.6, None]
    if grid:
        assert own.suggest("g") == Searcher.FINISHED


def test_a_trial_that_the_searcher_does_not_know_has_had_its_next_suggestion() -> None:
    own, whole = searcher("random"), searcher("random")
    expected = [whole.suggest(str(at))["point"] for at in range(3)]
    own.suggest("a")
    assert own.agree_with(["a", "b"])
    assert own.suggest("c")["point"] == expected[2]
    own.on_trial_complete("b", report(0.8))
    assert own.study.trials[1].value == 0.8
