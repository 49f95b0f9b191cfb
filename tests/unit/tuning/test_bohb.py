"""BOHB behind Tune's interface: its space, what it is told, and that a search that was cut off draws what it would
have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtl_ray.errors import ConfigError
from mtl_ray.tuning import bohb
from mtl_ray.tuning.bohb import BohbSearcher, check_bohb_installed
from mtl_ray.tuning.objective import objective_of
from mtl_ray.tuning.points import as_optuna
from mtl_ray.tuning.settings import BohbConfig
from tests.unit.tuning.test_space import BY_MODEL, RATE, refused, searched

pytest.importorskip("hpbandster", reason="pip install --no-deps -r requirements-bohb.txt")

LOSS = "validation/click/loss"
EPOCHS = 9
NESTED = {
    **RATE,
    "tasks.*.weight": {"simplex": ["click", "purchase"]},
    "training.optimizer.weight_decay": {"loguniform": [1e-14, 1e-12]},
    "training.batch": {"int": [16, 1024], "log": True},
    "model.name": {
        "choice": ["mmoe", "ple"],
        "when": {
            "mmoe": {"model.gate": {"choice": ["a", "b"], "when": {"a": {"model.k": {"int": [1, 8]}}}}},
            # One choice is none, and the key below has another range than above.
            "ple": {"model.gate": {"choice": [[3]], "when": {"[3]": {"model.k": {"uniform": [0.0, 1.0]}}}}},
        },
    },
}


def searcher(space: dict[str, Any] | None = None, random: float = 1 / 3) -> BohbSearcher:
    config = BohbConfig(name="bohb", random=random)
    return BohbSearcher(config, searched(space or {**RATE, **BY_MODEL}).space, objective_of(LOSS, {}), 100, EPOCHS)


def report(score: float, epoch: int, ended: str = "", budget: int | None = None) -> dict[str, Any]:
    """What comes flattened from Tune. `budget`: of a trial that has come to a halving."""
    info = {} if budget is None else {"budget": budget}
    return {"judged": score, "objective": [-score], "epoch": epoch, "ended": ended, "hyperband_info": info}


def asked(own: BohbSearcher, trial: str) -> Any:
    found = own.suggest(trial)
    assert found is not None
    return found["point"]


def rate(point: Any) -> float:
    return float(point["values"]["training.optimizer.learning_rate"])


def score(point: Any) -> float:
    return -abs(math.log(rate(point) / 1e-3)) - (point["values"].get("model.name") == "ple")


def losses(own: BohbSearcher) -> dict[int, list[float]]:
    return {budget: found for budget, found in own.bohber.losses.items() if found}


def test_points_lie_in_the_space_and_have_what_counts() -> None:
    own = searcher(NESTED)
    space = searched(NESTED).space
    kinds = set()
    for at in range(60):
        point = asked(own, str(at))
        assert (point["number"], point["seed"]) == (at, 100 + at)
        values = point["values"]
        as_optuna(space, values)
        assert values["tasks.click.weight"] + values["tasks.purchase.weight"] == pytest.approx(2.0)
        assert 1e-14 <= values["training.optimizer.weight_decay"] <= 1e-12
        assert isinstance(values["training.batch"], int)
        assert ("model.k" in values) == (values["model.gate"] != "b")
        kinds.add((values["model.name"], str(values["model.gate"]), type(values.get("model.k"))))
        own.on_trial_result(str(at), report(score(point), 1, budget=1))
    assert kinds == {("mmoe", "a", int), ("mmoe", "b", type(None)), ("ple", "[3]", float)}
    assert own.bohber.kde_models, "it has no densities"


def test_it_learns_from_what_trials_reach_at_a_halving() -> None:
    own = searcher(random=0.0)
    for at in range(own.least + 20):
        point = asked(own, str(at))
        own.on_trial_result(str(at), report(score(point), 1, budget=1))
        own.on_pause(str(at))
    later = [asked(own, f"later {at}") for at in range(20)]
    assert sum(5e-4 < rate(point) < 2e-3 for point in later) > 10, "0.3 of the space, by the logarithm"
    assert sum(point["values"]["model.name"] == "ple" for point in later) < 6


def test_what_is_told() -> None:
    own = searcher()
    for trial in "abcdef":
        asked(own, trial)
    own.on_trial_result("a", report(-0.5, 2))
    assert losses(own) == {}, "an epoch that is no halving"
    own.on_trial_result("a", report(-0.4, 3, budget=3))
    own.on_trial_result("a", report(-0.4, 3, budget=3))
    assert losses(own) == {3: [0.4]}, "an epoch that was repeated"
    # Stopped as the last one that came to the halving.
    own.on_trial_complete("b", report(-0.7, 3))
    # Ended by itself, before the last halving.
    own.on_trial_complete("c", report(-0.3, 5, "finished"))
    own.on_trial_complete("d", None, error=True)
    own.on_trial_complete("e", None)
    own.on_trial_complete("f", report(-9.0, 1, "failed"))
    own.on_trial_complete("never asked", report(-0.1, 1))
    assert losses(own) == {3: [0.4, 0.7, 9.0], EPOCHS: [0.3]}


def test_what_is_paused_leaves_room_for_another() -> None:
    own = searcher()
    own.set_max_concurrency(2)
    assert own.suggest("a") is not None
    assert own.suggest("b") is not None
    assert own.suggest("c") is None
    own.on_trial_result("a", report(-0.4, 1, budget=1))
    own.on_pause("a")
    assert own.suggest("c") is not None
    own.on_trial_complete("b", report(-0.4, 1))
    own.on_unpause("a")
    assert own.suggest("d") is None


def test_a_search_that_was_cut_off_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    whole, cut = searcher(NESTED), searcher(NESTED)
    for own in (whole, cut):
        for at in range(own.least + 6):
            own.on_trial_result(str(at), report(score(asked(own, str(at))), 1, budget=1))
            own.on_pause(str(at))
        asked(own, "running")
    assert whole.bohber.kde_models
    cut.save(str(tmp_path / "state"))
    again = searcher(NESTED)
    again.restore(str(tmp_path / "state"))
    # The new brackets let everything run that has not ended.
    assert again.running == whole.running | whole.paused
    before = np.random.get_state()[1].copy()
    for own in (whole, again):
        own.on_trial_complete("running", report(0.0, 1))
    rest = [[asked(own, f"more {at}") for at in range(8)] for own in (whole, again)]
    assert rest[0] == rest[1]
    assert [point["number"] for point in rest[1]] == list(range(whole.least + 7, whole.least + 15))
    assert (np.random.get_state()[1] == before).all(), "it has drawn from everybody's numbers"


def test_declared_points_come_first_as_they_are() -> None:
    own = searcher(NESTED)
    own.begin_with([{"model.name": "ple", "training.optimizer.learning_rate": 3e-3}, {"model.k": 5, "model.gate": "a"}])
    first = asked(own, "a")["values"]
    assert (first["model.name"], first["training.optimizer.learning_rate"], first["model.gate"]) == ("ple", 3e-3, [3])
    assert 0.0 <= first["model.k"] <= 1.0
    own.on_trial_result("a", report(-0.4, 1, budget=1))
    assert losses(own) == {1: [0.4]}


def test_it_learns_from_another_search() -> None:
    own = searcher(RATE, random=0.0)
    for at in range(40):
        value = 10 ** (-4 + 2 * at / 39)
        own.learn({"training.optimizer.learning_rate": value}, [abs(math.log(value / 1e-3))])
    drawn = [rate(asked(own, str(at))) for at in range(20)]
    assert sum(5e-4 < value < 2e-3 for value in drawn) > 10, drawn
    for outside in ({"training.optimizer.learning_rate": 1.0}, {}):
        with pytest.raises(ValueError, match=r"training\.optimizer\.learning_rate"):
            own.learn(outside, [0.0])


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"scheduler": "bohb", "searcher": "tpe"}, "searcher: tpe, scheduler: bohb"),
        ({"searcher": "bohb"}, "searcher: bohb, scheduler: none"),
        ({"searcher": "bohb", "scheduler": "asha"}, "searcher: bohb, scheduler: asha"),
        ({"scheduler": "bohb", "objective": [LOSS, "validation/purchase/loss"]}, "several objectives"),
    ],
)
def test_what_does_not_go_with_it(others: dict[str, Any], words: str) -> None:
    assert words in refused(RATE, **others)


def test_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_bohb_installed()
    monkeypatch.setattr(bohb, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"hpbandster and ConfigSpace[\s\S]*pip install 'mtl-ray\[bohb\]'"):
        check_bohb_installed()


def test_a_suggestion_that_no_trial_came_of_is_made_again() -> None:
    own, whole = searcher(), searcher()
    expected = [asked(whole, str(at)) for at in range(4)]
    for trial in "abc":
        asked(own, trial)
    own.on_pause("b")
    assert not own.agree_with(["a", "b", "c"])
    assert own.agree_with(["a", "unknown"])
    assert [asked(own, trial) for trial in "de"] == expected[1:3]
    own.on_trial_complete("unknown", report(0.8, epoch=1))
    assert own.running == {"a", "d", "e"}
    assert not own.paused


def test_a_trial_that_tune_does_not_know_to_have_ended_runs_again(tmp_path: Path) -> None:
    own = searcher()
    asked(own, "0")
    own.on_trial_complete("0", report(0.5, 1, "stopped"))
    own.save(str(tmp_path / "state"))
    again = searcher()
    again.restore(str(tmp_path / "state"))
    again.on_trial_result("0", report(0.5, 1, budget=1))
    again.on_trial_result("0", report(0.6, 2, budget=2))
    again.on_trial_complete("0", report(0.7, 3, "stopped"))
    assert losses(again) == {1: [-0.5], 2: [-0.6], 3: [-0.7]}
    assert not again.running
