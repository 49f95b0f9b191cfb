"""After each job, however it ends, nothing of it is left: no process, no actor, no placement group, no task.

On a cluster that stays, and on the local Ray that a job starts for itself where none is named. The README's steps and a
training that is interrupted are looked at in tests of their own too, which are not slow.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests import planted_conflict
from tests.ray_head import RayHead, ray_head
from tests.remains import MARK, remaining, remaining_processes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECONDS = 600
"""Longer than a busy machine takes for anything here."""

Running = tuple[subprocess.Popen[str], str]

SPACE: dict[str, Any] = {
    # The first rate lets its trial diverge: that fails, and the search does not.
    "space": {"training.optimizer.learning_rate": {"choice": [1e30, 0.01, 0.03]}},
    "searcher": "grid",
    "objective": "validation/left/roc_auc",
}
LONG = "training.epochs=500"
DIVERGES = ("training.optimizer.learning_rate=1e30", "training.clip_norm=null")
CONFIG = ("--config", "config.yaml")

JOBS: dict[str, tuple[str, ...]] = {
    "build_training_set": (*CONFIG, "training_set.runs_on=ray", "storage=built"),
    "tune": (*CONFIG, "--space", "space.yaml", "--concurrent", "2", "training.workers=1"),
    "tune on several workers": (
        *CONFIG, "--space", "space.yaml", "--concurrent", "1", "--trials", "1", "training.cpus_per_worker=0.5",
    ),
    "compare": (*CONFIG, "--config", "other.yaml", "--parallel", "2"),
    "leak_check": (*CONFIG, "--rows", "500", "--epochs", "1", "--seeds", "1"),
    "task_affinity": (*CONFIG, "--every", "2"),
    "retrain": (*CONFIG, "name=nightly"),
    "train, looking for a batch size": (*CONFIG, "--find-batch-size", "name=doubled"),
}  # fmt: skip
"""Of each file of jobs/ that computes on Ray, with its options; beside those that the tests name themselves."""


@dataclass(frozen=True)
class Ended:
    """What a job has left of itself."""

    status: int
    stdout: str
    stderr: str
    mark: str
    """That its processes had in their environment."""

    def result(self) -> dict[str, Any]:
        """What it has printed."""
        assert self.status == 0, self.stderr
        found: dict[str, Any] = json.loads(self.stdout)
        return found


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project."""
    root = tmp_path_factory.mktemp("remains")
    tree = planted_conflict.config(root, number=2_000)
    tree["training_set"]["split"] = {"by": "time", "validation": 0.1, "test": 0.2}
    tree["training"] |= {"epochs": 1, "workers": 2, "cpus_per_worker": 1}
    tree["evaluation"] = {"replicates": 0}
    (root / "config.yaml").write_text(yaml.safe_dump(tree))
    experts = {"name": "mmoe", **planted_conflict.EXPERTS["mmoe"], **planted_conflict.NARROW}
    (root / "other.yaml").write_text(yaml.safe_dump({**tree, "name": "other", "model": experts}))
    (root / "space.yaml").write_text(yaml.safe_dump(SPACE))
    return root


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head(num_cpus=6) as head:
        yield head


@pytest.fixture(params=["on a cluster", "on a Ray of its own"])
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """Of a driver. The cluster is not started for a test that needs none."""
    if request.param == "on a cluster":
        head: RayHead = request.getfixturevalue("head")
        return {**head.environment, "RAY_ADDRESS": head.gcs}
    return {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}


@contextmanager
def running(root: Path, environment: Mapping[str, str], job: str, *options: str) -> Iterator[Running]:
    """A job that runs, and the mark of its processes; it does no longer when the block ends."""
    mark = uuid4().hex
    command = [sys.executable, str(ROOT / "jobs" / f"{job}.py"), *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=root, env={**environment, MARK: mark}, text=True, **pipes) as process:
        try:
            yield process, mark
        finally:
            process.kill()


def ended(root: Path, environment: Mapping[str, str], job: str, *options: str) -> Ended:
    """A job that ran to its end."""
    with running(root, environment, job, *options) as (process, mark):
        stdout, stderr = process.communicate(timeout=SECONDS)
    return Ended(process.returncode, stdout, stderr, mark)


def interrupted(root: Path, environment: Mapping[str, str], number: signal.Signals, job: str, *options: str) -> Ended:
    """A job that got that signal in the middle of its work."""
    told = ""
    with running(root, environment, job, *options) as (process, mark):
        assert process.stderr is not None
        for line in process.stderr:
            told += line
            if re.match(r"(· \w+: )?epoch \d|trial 0:", line):
                break
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=SECONDS)
    return Ended(process.returncode, stdout, told + stderr, mark)


def assert_nothing_remains(environment: Mapping[str, str], job: Ended, request: pytest.FixtureRequest) -> None:
    assert remaining_processes(job.mark) == [], job.stderr
    if "RAY_ADDRESS" in environment:
        assert remaining(request.getfixturevalue("head")) == [], job.stderr


def test_after_a_training_and_its_evaluation(
    root: Path, environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    trained = ended(root, environment, "train", *CONFIG)
    assert_nothing_remains(environment, trained, request)
    evaluated = ended(root, environment, "evaluate", "--run", trained.result()["run"])
    assert evaluated.result()["metrics"]
    assert_nothing_remains(environment, evaluated, request)


@pytest.mark.parametrize("job", JOBS)
def test_after_every_other_job(
    root: Path, environment: dict[str, str], request: pytest.FixtureRequest, job: str
) -> None:
    done = ended(root, environment, job.split(",")[0].split(" ")[0], *JOBS[job])
    assert done.result()
    assert_nothing_remains(environment, done, request)


def test_after_failures(root: Path, environment: dict[str, str], request: pytest.FixtureRequest) -> None:
    """Found when the workers had begun to train: a training that diverges, alone and among others."""
    training = ended(root, environment, "train", *CONFIG, "name=failing", *DIVERGES)
    assert training.status == 1, training.stderr
    assert "diverged" in training.stderr
    assert_nothing_remains(environment, training, request)
    comparison = ended(root, environment, "compare", *CONFIG, "--config", "other.yaml", *DIVERGES)
    assert comparison.status == 1, comparison.stderr
    assert_nothing_remains(environment, comparison, request)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("job", ["train", "compare"])
def test_after_an_interruption(
    root: Path, environment: dict[str, str], request: pytest.FixtureRequest, job: str, number: signal.Signals
) -> None:
    options = (*CONFIG, "--config", "other.yaml") if job == "compare" else CONFIG
    cut = interrupted(root, environment, number, job, *options, LONG)
    assert cut.status != 0, cut.stderr
    if number == signal.SIGINT:
        assert cut.status == 130, cut.stderr
        assert "Traceback" not in cut.stderr
    if job == "train":
        assert "error: Interrupted" in cut.stderr
        assert "SIGTERM received" not in cut.stderr, "Ray ended the process, and nobody told the workers"
    assert_nothing_remains(environment, cut, request)


def test_after_ctrl_c_in_a_search(root: Path, environment: dict[str, str], request: pytest.FixtureRequest) -> None:
    space = ("--space", "space.yaml", "--concurrent", "2", "training.workers=1")
    cut = interrupted(root, environment, signal.SIGINT, "tune", *CONFIG, *space, LONG)
    assert cut.status == 130, cut.stderr
    assert "--resume" in cut.stderr
    assert_nothing_remains(environment, cut, request)
