"""A search that loses a trial's process, or its driver, ends with the trials and values of one that loses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from ray.tune import ExperimentAnalysis

from mtl_ray.config import load_config
from mtl_ray.tuning.load import load_space
from mtl_ray.tuning.search import search
from tests import planted_conflict
from tests.tuning_search import epochs, logs, run_job, running

pytestmark = pytest.mark.slow

# A grid: what is tried does not depend on who came first.
SPACE: dict[str, Any] = {
    "space": {"training.optimizer.learning_rate": {"choice": [0.01, 0.1]}},
    "searcher": "grid",
    "objective": "validation/left/roc_auc",
}
EPOCHS = 8
OPTIONS = ("--config", "config.yaml", "--space", "space.yaml", "--concurrent", "1")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project."""
    root = tmp_path_factory.mktemp("search_killed")
    tree = planted_conflict.config(root, number=6_000)
    tree["training"] |= {"epochs": EPOCHS, "early_stopping": {"patience": None}}
    (root / "config.yaml").write_text(yaml.safe_dump(tree))
    (root / "space.yaml").write_text(yaml.safe_dump(SPACE))
    return root


@pytest.fixture(scope="module")
def undisturbed(root: Path, ray_cluster: None) -> list[dict[str, Any]]:  # noqa: ARG001
    """The trials of a search that was left in peace."""
    config, settings = load_config(root / "config.yaml"), load_space(root / "space.yaml")
    return trials_of(search(config, settings, None, 2, None, lambda _: None).summary())


def test_a_trial_goes_on_from_its_last_epoch_after_its_process_died(root: Path, undisturbed: list[Any]) -> None:
    with running(root, *OPTIONS) as search:
        search.wait_for_epoch(trial=0, epoch=2)
        search.kill_trial()
        output, errors = search.driver.communicate()
    assert search.driver.returncode == 0, errors
    assert "trial 0: its process was lost" in errors
    rows = trials_of(json.loads(output))
    assert [row["failures"] for row in rows] == [1, 0]
    same(rows, undisturbed)
    logged = epochs(search.folder, 0)
    assert set(logged) == set(range(1, EPOCHS + 1))
    assert logged.count(1) == 1, "it began again from nothing"


def test_a_search_goes_on_after_its_driver_was_killed(root: Path, undisturbed: list[Any]) -> None:
    with running(root, *OPTIONS) as search:
        search.wait_for_epoch(trial=1, epoch=3)
        search.kill_driver()
    folder = search.folder
    first = logs(folder, 0)
    assert not (folder / "trials.parquet").exists()
    done = run_job(root, *OPTIONS, "--resume", "auto")
    assert done.returncode == 0, done.stderr
    assert f"going on with {folder}" in done.stderr
    same(trials_of(json.loads(done.stdout)), undisturbed)
    assert logs(folder, 0) == first, "a finished trial was repeated"
    logged = epochs(folder, 1)
    assert set(logged) == set(range(1, EPOCHS + 1))
    assert logged.count(1) == 1, "it began again from nothing"
    again = run_job(root, *OPTIONS, "--resume", "auto")
    assert json.loads(again.stdout) == json.loads(done.stdout)
    assert f"{folder} has ended: nothing is repeated" in again.stderr


def older_checkpoint(tune: Path) -> None:
    """The second trial's checkpoint has made room for a newer one."""
    (trial,) = tune.glob("trial-1-*")
    (checkpoint,) = sorted(trial.glob("checkpoint_*"))[-1:]
    checkpoint.rename(trial / "checkpoint_000099")


def fewer_trials(tune: Path) -> None:
    """The searcher has suggested the second trial."""
    file = max(tune.glob("experiment_state-*.json"))
    state = json.loads(file.read_text())
    assert len(state["trial_data"]) == 2
    state["trial_data"].pop()
    file.write_text(json.dumps(state))


@pytest.mark.parametrize("lag", [older_checkpoint, fewer_trials])
def test_a_search_goes_on_whose_trials_were_written_down_before_the_rest(
    root: Path, undisturbed: list[Any], lag: Callable[[Path], None]
) -> None:
    with running(root, *OPTIONS, f"name={lag.__name__}") as search:
        search.wait_for_epoch(trial=1, epoch=2)
        search.kill_driver()
    lag(search.folder / "tune")
    done = run_job(root, "--resume", str(search.folder))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["failures"] == 0, done.stderr
    same(trials_of(found), undisturbed)


def test_a_search_that_was_lost_before_its_first_trial_is_begun(root: Path, undisturbed: list[Any]) -> None:
    with running(root, *OPTIONS, "name=early") as search:
        search.kill_driver()
    folder = search.folder
    assert logs(folder, 0) == []
    done = run_job(root, *OPTIONS, "name=early", "--resume", "auto")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == str(folder)
    same(trials_of(json.loads(done.stdout)), undisturbed)


@pytest.mark.parametrize("name", ["bohb", "hyperband"])
def test_brackets_go_on_after_the_driver_was_killed(root: Path, name: str) -> None:
    if name == "bohb":
        pytest.importorskip("hpbandster", reason="pip install --no-deps -r requirements-bohb.txt")
    rates = {"training.optimizer.learning_rate": {"loguniform": [1e-3, 1e-1]}}
    space = {"space": rates, "objective": "validation/left/roc_auc", "scheduler": {"name": name, "reduction": 2}}
    (root / f"{name}.yaml").write_text(yaml.safe_dump(space))
    options = ("--trials", "7", "--concurrent", "2", "training.epochs=4")
    with running(root, "--config", "config.yaml", "--space", f"{name}.yaml", *options) as search:
        search.wait_for_epoch(trial=4, epoch=1)
        search.kill_driver()
    folder = search.folder
    kept = written_down(folder)
    before = [logs(folder, trial)[: kept.get(trial, 0)] for trial in range(7)]
    assert any(before)
    done = run_job(root, "--resume", str(folder))
    assert done.returncode == 0, done.stderr
    rows = trials_of(json.loads(done.stdout))
    assert [row["number"] for row in rows] == list(range(7))
    assert {row["status"] for row in rows} <= {"finished", "stopped"}
    assert [row["epochs"] for row in rows if row["status"] == "finished"]
    for trial, row in enumerate(rows):
        logged = epochs(folder, trial)
        assert set(logged) == set(range(1, row["epochs"] + 1))
        assert logs(folder, trial)[: len(before[trial])] == before[trial]
        if before[trial]:
            assert logged.count(1) == 1, "it began again from nothing"


def written_down(folder: Path) -> dict[int, int]:
    """By trial, the epoch of the checkpoint that the state of the search has, up to two seconds behind the logs."""
    trials = ExperimentAnalysis(str(folder / "tune")).trials or []
    checkpoints = {int(Path(trial.path).name.split("-")[1]): trial.checkpoint for trial in trials}
    return {trial: int(Path(each.path).name[-6:]) + 1 for trial, each in checkpoints.items() if each is not None}


def trials_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(Path(result["run"]) / "trials.parquet").to_pylist()
    return rows


def same(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    """The same trials, each once, with the same values bit for bit."""
    kept = ("number", "status", "values", "seed", "epochs", "kept_epoch", "validation/loss", "validation/left/roc_auc")
    assert [[row[name] for name in kept] for row in rows] == [[row[name] for name in kept] for row in others]
    assert [row["number"] for row in rows] == [0, 1]
