"""Task affinity of the simulated shop, run as a user runs it, on two Ray workers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.run_folder import RunFolder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("task_affinity")


@pytest.fixture(scope="module")
def done(shop: Any, storage: Path) -> subprocess.CompletedProcess[str]:
    config = storage / "config.yaml"
    config.write_text(yaml.safe_dump(shop.config, sort_keys=False))
    command = [sys.executable, str(ROOT / "jobs" / "task_affinity.py"), "--config", str(config), "--every", "2"]
    command.append(f"storage={storage / 'runs'}")
    return subprocess.run(command, cwd=storage, env=shop.environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_second_step_of_the_run_was_measured_once(result: dict[str, Any]) -> None:
    run = RunFolder.open(result["run"])
    steps = run.summary()["steps"]
    record = load_checkpoint(run.checkpoint("last")).training_state()["affinity"]
    assert record["steps"].tolist() == list(range(0, steps, 2))
    assert result["training_steps"] == steps
    assert result["steps"] == len(record["steps"])
    assert run.config().training.affinity_every == 2
    mean = record["affinity"].nanmean(dim=0)
    for row, values in zip(result["affinity"], mean.tolist(), strict=True):
        assert [cell["value"] for cell in row] == pytest.approx(values, rel=1e-9)


def test_a_step_for_a_task_lowers_its_own_loss(result: dict[str, Any]) -> None:
    assert result["tasks"] == ["click", "purchase", "order_value", "rating"]
    for at in range(4):
        assert result["affinity"][at][at]["value"] > 0


def test_groupings_cover_all_tasks(result: dict[str, Any]) -> None:
    assert [grouping["most"] for grouping in result["groupings"]] == [2, 3, 4]
    for grouping in result["groupings"]:
        assert {task for group in grouping["groups"] for task in group} == set(result["tasks"])
        assert grouping["score"]["value"] >= result["together"]["value"]
        assert grouping["runner_up_score"] <= grouping["score"]["value"]
        assert 0 <= grouping["wins"] <= 1
    assert {task for group in result["proposed"] for task in group} == set(result["tasks"])


def test_the_table_the_page_and_the_data_are_there(
    done: subprocess.CompletedProcess[str], result: dict[str, Any], storage: Path
) -> None:
    assert "best grouping" in done.stderr
    folder = storage / "runs" / "task_affinity" / "small"
    assert sorted(file.name for file in folder.iterdir()) == ["task_affinity.html", "task_affinity.json"]
    assert result["page"] == str(folder / "task_affinity.html")
    stored = json.loads((folder / "task_affinity.json").read_text())
    assert {name: result[name] for name in stored} == stored
    assert "order_value" in (folder / "task_affinity.html").read_text().replace("<wbr>", "")
