"""A population that changes its weights while it trains, cut off in the middle: it goes on with the members it had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tests import planted_conflict
from tests.tuning_search import epochs, run_job, running

MEMBERS, EPOCHS = 4, 6
SPACE: dict[str, Any] = {
    "space": {
        "training.optimizer.learning_rate": {"loguniform": [1e-4, 1e-1]},
        "tasks.left.weight": {"loguniform": [0.1, 10.0]},
        "tasks.right.weight": {"loguniform": [0.1, 10.0]},
    },
    "objective": {"validation/left/roc_auc": 1, "validation/right/roc_auc": 1},
    "scheduler": {"name": "pbt", "every": 1},
}


@pytest.mark.slow
def test_a_population_goes_on_with_its_members(tmp_path: Path) -> None:
    tree = planted_conflict.config(tmp_path)
    stopping = {"metric": "validation/left/loss", "patience": 1}
    tree["training"] |= {"epochs": EPOCHS, "early_stopping": stopping}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    options = ("--config", "config.yaml", "--space", "space.yaml", "--concurrent", "2", "--trials", str(MEMBERS))
    with running(tmp_path, *options) as search:
        search.wait_for_epoch(trial=1, epoch=3)
        errors = search.kill_driver()
    assert "patience does not count" in errors
    folder = search.folder
    # A member that took over another's weights at a later epoch has not logged those between.
    logged = [epochs(folder, member) for member in range(MEMBERS)]
    done = run_job(tmp_path, "--resume", str(folder))
    assert done.returncode == 0, done.stderr
    trials = pq.read_table(folder / "trials.parquet").to_pylist()
    assert [trial["number"] for trial in trials] == list(range(MEMBERS))
    assert [trial["status"] for trial in trials] == ["finished"] * MEMBERS
    assert [trial["epochs"] for trial in trials] == [EPOCHS] * MEMBERS
    assert max(logged[1]) >= 3
    for member, before in enumerate(logged):
        assert len(epochs(folder, member)) < len(before) + EPOCHS, "a member began again"
    rows = pq.read_table(folder / "epochs.parquet").to_pylist()
    weights: dict[int, set[float]] = {member: set() for member in range(MEMBERS)}
    for row in rows:
        values = json.loads(row["values"])
        weights[row["trial"]].add(values["tasks.left.weight"])
        # What the loss was multiplied by in the epoch is what the member had at that time.
        assert row["train/left/weight"] == values["tasks.left.weight"]
        assert 1e-4 <= values["training.optimizer.learning_rate"] <= 1e-1
    assert max(len(found) for found in weights.values()) > 1, "no member has ever changed"
    page = (folder / "tuning.html").read_text()
    assert "How the population changed" in page
    assert all(json.dumps(value) in page for value in weights[0])
