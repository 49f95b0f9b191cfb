"""A search that loses a trial's process, or its driver, ends with the trials and values of one that loses nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from tests import planted_conflict
from tests.tuning_search import command, run_job

# A grid: what is tried does not depend on who came first. Long enough epochs to be killed in.
SPACE: dict[str, Any] = {
    "space": {"training.optimizer.learning_rate": {"choice": [0.01, 0.03, 0.1]}},
    "searcher": "grid",
    "objective": "validation/left/roc_auc",
}
EPOCHS = 8


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project, with its training set built, and a search that was left in peace."""
    root = tmp_path_factory.mktemp("search_killed")
    tree = planted_conflict.config(root, number=12_000)
    tree["training"] |= {"epochs": EPOCHS, "early_stopping": {"patience": None}}
    (root / "config.yaml").write_text(yaml.safe_dump(tree))
    (root / "space.yaml").write_text(yaml.safe_dump(SPACE))
    return root


@pytest.fixture(scope="module")
def undisturbed(root: Path) -> list[dict[str, Any]]:
    done = run_job(root, *OPTIONS)
    assert done.returncode == 0, done.stderr
    return trials_of(json.loads(done.stdout))


OPTIONS = ("--config", "config.yaml", "--space", "space.yaml", "--concurrent", "1")


def test_a_trial_goes_on_from_its_last_epoch_after_its_process_died(root: Path, undisturbed: list[Any]) -> None:
    driver, folder = started(root)
    wait_for_epoch(folder, trial=0, epoch=2)
    victim = next(p for p in psutil.Process(driver.pid).children(recursive=True) if is_trial(p))
    victim.kill()
    output, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors
    assert "trial 0: its process was lost" in errors
    rows = trials_of(json.loads(output))
    assert [row["failures"] for row in rows] == [1, 0, 0]
    same(rows, undisturbed)
    again = [json.loads(line)["epoch"] for line in logs(folder, 0)]
    assert len(set(again)) == EPOCHS
    assert len(again) <= EPOCHS + 2, "it began again from nothing"


def test_a_search_goes_on_after_its_driver_was_killed(root: Path, undisturbed: list[Any]) -> None:
    driver, folder = started(root)
    wait_for_epoch(folder, trial=1, epoch=3)
    first = logs(folder, 0)
    children = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    psutil.wait_procs(children, timeout=60)
    assert not (folder / "trials.parquet").exists()
    done = run_job(root, "--resume", str(folder))
    assert done.returncode == 0, done.stderr
    same(trials_of(json.loads(done.stdout)), undisturbed)
    assert logs(folder, 0) == first, "a finished trial was repeated"
    second = [json.loads(line)["epoch"] for line in logs(folder, 1)]
    assert len(set(second)) == EPOCHS
    assert len(second) <= EPOCHS + 3, "it began again from nothing"


def started(root: Path) -> tuple[subprocess.Popen[str], Path]:
    """A running search, and its folder."""
    searches = root / "runs" / "searches"
    before = set(searches.glob("*")) if searches.exists() else set()
    driver = subprocess.Popen(command(*OPTIONS), cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (new := set(searches.glob("*")) - before if searches.exists() else set()):
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.2)
    return driver, new.pop()


def wait_for_epoch(folder: Path, trial: int, epoch: int) -> None:
    deadline = time.monotonic() + 240
    while not any(json.loads(line)["epoch"] >= epoch for line in logs(folder, trial)):
        assert time.monotonic() < deadline, "the trial has not come that far"
        time.sleep(0.05)


def logs(folder: Path, trial: int) -> list[str]:
    """Lines that Tune has logged of a trial's epochs."""
    files = list((folder / "tune").glob(f"trial-{trial}-*/result.json"))
    return files[0].read_text().splitlines() if files else []


def is_trial(process: psutil.Process) -> bool:
    try:
        return "ResourceTrainable" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def trials_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(Path(result["run"]) / "trials.parquet").to_pylist()
    return rows


def same(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    """The same trials, each once, with the same values bit for bit."""
    kept = ("number", "status", "values", "seed", "epochs", "kept_epoch", "objective/validation/left/roc_auc")
    assert [[row[name] for name in kept] for row in rows] == [[row[name] for name in kept] for row in others]
    assert [row["number"] for row in rows] == [0, 1, 2]
    assert all(row["validation/loss"] == other["validation/loss"] for row, other in zip(rows, others, strict=True))
