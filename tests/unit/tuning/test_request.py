"""The options of jobs/tune.py: which go together, and folders that hold no search."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from mtl_ray.errors import CheckpointError, ConfigError
from mtl_ray.tuning.request import request, seconds
from tests.tuning_search import run_job

NONE: dict[str, Any] = dict.fromkeys(
    ("config", "space", "trials", "concurrent", "time_budget", "resume", "run", "promote")
)


def refused(**options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        request(**{**NONE, "overrides": (), "say": lambda _: None, **options})
    return str(caught.value)


def test_options_that_do_not_go_together() -> None:
    assert "add --config, --space" in refused()
    assert "add --space" in refused(config=Path("c.yaml"))
    assert "leave out --trials" in refused(resume="r", trials=3)
    assert "leave out dotted.key=value" in refused(resume="r", overrides=("seed=1",))
    assert "add --run" in refused(promote=3)
    assert "add --promote" in refused(run="r")
    assert "leave out --config" in refused(run="r", promote=1, config=Path("c.yaml"))


def test_durations() -> None:
    assert [seconds(text) for text in ("90s", "1.5m", "2h", "1d")] == [90.0, 90.0, 7200.0, 86400.0]
    for text in ("2", "h", "-1h", "0s", "2 weeks"):
        with pytest.raises(ConfigError, match="such as 90s, 30m or 2h"):
            seconds(text)


def test_folders_that_hold_no_search(tmp_path: Path) -> None:
    for options in ({"resume": str(tmp_path)}, {"run": str(tmp_path / "absent"), "promote": 0}):
        with pytest.raises(CheckpointError, match="This folder holds no search"):
            request(**{**NONE, "overrides": (), "say": lambda _: None, **options})


def test_a_mistake_ends_with_status_2_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("space: {}")
    (tmp_path / "config.yaml").write_text("name: x")
    done: subprocess.CompletedProcess[str] = run_job(tmp_path, "--config", "config.yaml", "--space", "space.yaml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr
