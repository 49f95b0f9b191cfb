"""The README's steps, typed as they stand there, on the full simulated shop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.remains import MARK, remaining_processes

ROOT = Path(__file__).parents[2]
CONFIG = "jobs/configs/ecommerce_mmoe.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the steps read of the repository, in a folder that they may write to."""
    folder = tmp_path_factory.mktemp("clone")
    left_out = shutil.ignore_patterns("data", "__pycache__")
    for name in ("feature_repo", "jobs"):
        shutil.copytree(ROOT / name, folder / name, ignore=left_out)
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    """What each job printed on stdout, by job."""
    # Other tests point the feature repository to a shop of theirs.
    environment = {name: value for name, value in os.environ.items() if name != "ECOMMERCE_DATA"} | {MARK: uuid4().hex}

    def job(name: str, *arguments: str) -> dict[str, Any]:
        command = [sys.executable, f"jobs/{name}.py", *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert remaining_processes(environment[MARK]) == [], "the job is over, and something of it still runs"
        result: dict[str, Any] = json.loads(done.stdout)
        return {**result, "stderr": done.stderr}

    prepared = job("prepare", "--dataset", "ecommerce", "--out", "data/ecommerce")
    feast = Path(sys.executable).parent / "feast"
    repo = folder / "feature_repo"
    subprocess.run([feast, "apply"], cwd=repo, env=environment, check=True, capture_output=True)
    return {
        "prepare": prepared,
        "build_training_set": job("build_training_set", "--config", CONFIG),
        "train": job("train", "--config", CONFIG),
        "evaluate": job("evaluate", "--run", "runs/latest"),
    }


def test_each_job_says_what_it_left(folder: Path, results: dict[str, Any]) -> None:
    built = results["build_training_set"]
    assert sum(built["rows"].values()) == results["prepare"]["rows"]
    assert (folder / built["training_set"] / "manifest.json").is_file()
    assert Path(results["train"]["training_set"]) == folder / built["training_set"]
    assert Path(results["train"]["report"]).is_file()
    assert (folder / results["evaluate"]["report"]).is_file()
    assert "report: runs/latest/report.html" in results["evaluate"]["stderr"]


def test_progress_is_shown(results: dict[str, Any]) -> None:
    for text in ("workers are ready", "samples/s", "epoch 1 ", "validation loss", "click roc_auc"):
        assert text in results["train"]["stderr"]


def test_every_binary_task_reaches_nine_tenths_of_the_attainable_auc(folder: Path, results: dict[str, Any]) -> None:
    evaluation = json.loads((folder / "runs/latest/evaluation/test.json").read_text())
    binary = {task["task"]: task for task in evaluation["tasks"] if task["type"] == "binary"}
    assert binary.keys() == {"click", "cart", "purchase"}
    for name, task in binary.items():
        auc, attainable = task["metrics"]["roc_auc"]["value"], task["attainable"]["roc_auc"]
        assert auc == results["evaluate"]["metrics"][name]["roc_auc"]
        assert (auc - 0.5) / (attainable - 0.5) > 0.9, name
