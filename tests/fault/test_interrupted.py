"""Ctrl-C ends a training cleanly: a sentence, its own exit status, no process left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from mtl_ray.errors import CheckpointError
from mtl_ray.evaluation.evaluate import evaluate

ROOT = Path(__file__).parents[2]


def test_an_interrupted_training(shop: Any, tmp_path: Path) -> None:
    training = {**shop.config["training"], "epochs": 500, "workers": 1}
    config = {**shop.config, "storage": str(tmp_path / "runs"), "training": training}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "jobs/train.py", "--config", str(path)]
    with subprocess.Popen(
        command, cwd=ROOT, env=shop.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as job:
        assert job.stderr is not None
        told = []
        for line in job.stderr:
            told.append(line)
            if line.startswith("epoch 1 ") and "validation loss" in line:
                break
        children = psutil.Process(job.pid).children(recursive=True)
        assert children
        job.send_signal(signal.SIGINT)
        stdout, stderr = job.communicate(timeout=120)
    assert job.returncode == 130, "".join(told) + stderr
    assert stdout == ""
    assert "Interrupted" in stderr
    assert "Traceback" not in stderr
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and psutil.wait_procs(children, timeout=1)[1]:
        pass
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    (run,) = (tmp_path / "runs").glob("small-*")
    assert str(run) in stderr
    assert list(run.glob("checkpoints/checkpoint_*/checksums.json"))
    with pytest.raises(CheckpointError, match="has not finished training"):
        evaluate(run, "test", "best", lambda _: None)
