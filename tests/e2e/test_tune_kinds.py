"""Searches of other kinds: several objectives, several workers, and warm starts from a search before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mtl_ray.config import load_config, parse_config
from mtl_ray.errors import ConfigError
from mtl_ray.tuning.finish import config_of
from mtl_ray.tuning.front import dominates
from mtl_ray.tuning.outcome import Outcome
from mtl_ray.tuning.search import search
from mtl_ray.tuning.settings import SearchSettings
from tests import planted_conflict

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

LEFT, RIGHT = "validation/left/roc_auc", "validation/right/roc_auc"
WEIGHTS = {"tasks.*.weight": {"simplex": ["left", "right"]}}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return planted_conflict.config(tmp_path_factory.mktemp("tune_kinds"))


def searched(tree: dict[str, Any], space: dict[str, Any], trials: int, **training: Any) -> Outcome:
    config = parse_config({**tree, "training": {**tree["training"], **training}})
    return search(config, SearchSettings.model_validate(space), trials, 2, None, lambda _: None)


@pytest.fixture(scope="module")
def two(tree: dict[str, Any]) -> Outcome:
    """Which of two tasks a single shared unit serves."""
    return searched(tree, {"space": WEIGHTS, "objective": [LEFT, RIGHT], "searcher": "nsga2"}, 8)


def test_a_front_of_two_objectives(two: Outcome) -> None:
    scores = two.objective_scores
    assert len(scores) == 8
    assert len(two.front) >= 2
    for number in two.front:
        assert not any(dominates(other, scores[number]) for other in scores.values())
    folder = Path(two.run)
    assert {file.name for file in (folder / "front").iterdir()} == {f"trial-{number}.yaml" for number in two.front}
    for number in two.front:
        config = load_config(folder / "front" / f"trial-{number}.yaml")
        values = two.trial(number).values
        assert {f"tasks.{name}.weight": task.weight for name, task in config.tasks.items()} == pytest.approx(values)
    rows = pq.read_table(folder / "trials.parquet").to_pylist()
    assert [(row[f"objective/{LEFT}"], row[f"objective/{RIGHT}"]) for row in rows] == [
        trial.objective for trial in two.trials
    ]
    page = (folder / "tuning.html").read_text()
    assert f"{len(two.front)} trials, none of which beats another" in page
    # The more weight a task has, the better the unit serves it.
    assert "Weights and tasks" in page


def test_a_search_starts_from_another_one(tree: dict[str, Any], two: Outcome) -> None:
    start = {"searches": [two.run], "default": False, "values": [{"tasks.left.weight": 2.0, "tasks.right.weight": 0.0}]}
    said: list[str] = []
    settings = SearchSettings.model_validate({"space": WEIGHTS, "objective": LEFT, "start": start})
    found = search(parse_config(tree), settings, 2, 2, None, said.append)
    assert f"starting from 8 of 8 trials of {Path(two.run).name}" in said
    first, second = (trial.values["tasks.left.weight"] for trial in found.trials)
    assert first == pytest.approx(2.0, abs=1e-6)
    assert second > 1.0, "it has learnt nothing of the other search"
    of_another = {**tree, "training_set": {**tree["training_set"], "shuffle_seed": 1}}
    with pytest.raises(ConfigError, match="ran on another training set"):
        search(parse_config(of_another), settings, 2, 2, None, said.append)
    outside = settings.model_copy(
        update={"start": settings.start.model_copy(update={"values": ({"model.name": "x"},)})}
    )
    with pytest.raises(ConfigError, match=r"start\.values\[0\]"):
        search(parse_config(tree), outside, 2, 2, None, said.append)


def test_a_trial_with_two_workers_is_a_ray_train_run_with_the_same_result(tree: dict[str, Any], two: Outcome) -> None:
    found = searched(tree, {"space": WEIGHTS, "objective": LEFT}, 1, workers=2)
    (trial,) = found.trials
    assert trial.status == "finished"
    assert trial.epochs == 3
    # The config itself is the first trial of both.
    assert two.trials[0].values == trial.values
    assert trial.metrics[LEFT] == pytest.approx(two.trials[0].metrics[LEFT], abs=1e-3)
    run = Path(found.run) / "runs" / "trial-0"
    assert json.loads((run / "checkpoints" / "checkpoint_manager_snapshot.json").read_text())


def test_a_trial_that_diverges_is_a_row_and_no_end(tree: dict[str, Any]) -> None:
    rates = {"training.optimizer.learning_rate": {"choice": [0.03, 1e30]}}
    found = searched(tree, {"space": rates, "searcher": "grid"}, 2, clip_norm=None, log_every=1)
    assert [trial.status for trial in found.trials] == ["finished", "failed"]
    assert found.trials[1].error.startswith("Training diverged")
    assert found.trials[1].failures == 0
    assert found.front == (0,)


BOTH = {LEFT: 1, RIGHT: 1}
BY_MODEL = {
    "training.optimizer.learning_rate": {"loguniform": [1e-3, 1e-1]},
    "model.name": {"choice": ["shared_bottom", "mmoe"], "when": {"mmoe": {"model.num_experts": {"int": [2, 4]}}}},
}
HALVED = {"epochs": 4, "early_stopping": {"patience": None}}


@pytest.fixture(scope="module")
def by_bohb(tree: dict[str, Any]) -> Outcome:
    pytest.importorskip("hpbandster", reason="pip install --no-deps -r requirements-bohb.txt")
    space = {"space": BY_MODEL, "objective": BOTH, "scheduler": {"name": "bohb", "reduction": 2}}
    return searched(tree, space, 12, **HALVED)


def test_bohb_halves_its_brackets(by_bohb: Outcome) -> None:
    assert [trial.number for trial in by_bohb.trials] == list(range(12))
    # Brackets of 4, 3 and 3 trials begin with 1, 2 and 4 epochs; then the next 4.
    assert {trial.status for trial in by_bohb.trials} == {"finished", "stopped"}
    assert {trial.epochs for trial in by_bohb.trials} == {1, 2, 4}
    assert all(trial.epochs == 4 for trial in by_bohb.trials if trial.status == "finished")
    rows = pq.read_table(Path(by_bohb.run) / "trials.parquet").to_pylist()
    assert [row["epochs"] for row in rows] == [trial.epochs for trial in by_bohb.trials]
    for row in rows:
        assert (row["values/model.num_experts"] is None) == (json.loads(row["values/model.name"]) != "mmoe")
    best = by_bohb.trial(by_bohb.front[0])
    # Experts against one unit that both tasks share: see tests/planted_conflict.py.
    assert best.values["model.name"] == "mmoe"
    assert "Parallel coordinates" in (Path(by_bohb.run) / "tuning.html").read_text()


def test_a_trial_that_bohb_paused_is_the_one_that_trains_without_a_pause(
    tree: dict[str, Any], by_bohb: Outcome
) -> None:
    paused = max(by_bohb.trials[:4], key=lambda trial: trial.epochs)
    assert paused.epochs == 4
    config = config_of(parse_config({**tree, "training": {**tree["training"], **HALVED}}), paused)
    again = search(config, SearchSettings.model_validate({"space": BY_MODEL}), 1, 1, None, lambda _: None)
    assert again.trials[0].values == paused.values
    assert again.trials[0].seed == paused.seed
    of_it = [item.metrics for item in by_bohb.epochs if item.trial == paused.number]
    assert [item.metrics for item in again.epochs] == of_it


@pytest.mark.parametrize("scheduler", ["median", "hyperband", "pb2"])
def test_schedulers(tree: dict[str, Any], scheduler: str) -> None:
    ranges = {"training.optimizer.learning_rate": {"loguniform": [1e-4, 1e-1]}}
    stopping = {"metric": "validation/left/loss"}
    space = {"space": ranges, "objective": LEFT, "scheduler": scheduler}
    found = searched(tree, space, 4, epochs=3, early_stopping=stopping)
    assert [trial.number for trial in found.trials] == [0, 1, 2, 3]
    assert {trial.status for trial in found.trials} <= {"finished", "stopped"}
    assert found.trial(found.front[0]).epochs == 3
    assert found.trial(found.front[0]).objective[0] == max(trial.objective[0] or 0.0 for trial in found.trials)


def test_more_than_the_cluster_has_is_said_at_once(tree: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="A trial needs more than the cluster has") as caught:
        searched(tree, {"space": WEIGHTS}, 1, cpus_per_worker=7.0)
    assert "6 CPUs on 1 nodes" in str(caught.value)
