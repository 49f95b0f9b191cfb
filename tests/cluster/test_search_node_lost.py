"""A search that loses the node of a trial ends with the trials and values of one that loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tests import planted_conflict
from tests.cluster.ray_nodes import Job, RayNodes
from tests.tuning_search import epochs, logs

pytestmark = pytest.mark.slow

EPOCHS = 8
RATES = [0.01, 0.03, 0.1]
# A grid: what is tried does not depend on who came first.
SPACE: dict[str, Any] = {
    "space": {"training.optimizer.learning_rate": {"choice": RATES}},
    "searcher": "grid",
    "objective": "validation/left/roc_auc",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose trials find no room on the node of another one."""
    root = tmp_path_factory.mktemp("search_node_lost")
    tree = planted_conflict.config(root, number=6_000)
    tree["training"] |= {"epochs": EPOCHS, "early_stopping": {"patience": None}, "cpus_per_worker": 2}
    (root / "config.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    (root / "space.yaml").write_text(yaml.safe_dump(SPACE))
    return root


@pytest.fixture(scope="module")
def undisturbed(cluster: RayNodes, root: Path) -> list[dict[str, Any]]:
    """The trials of a search that was left in peace."""
    cluster.fill(3)
    job, folder = started(cluster, root)
    assert job.exit_status() == 0, job.said()
    return trials_of(folder)


def test_the_node_of_a_trial_is_lost(cluster: RayNodes, root: Path, undisturbed: list[dict[str, Any]]) -> None:
    cluster.fill(3)
    job, folder = started(cluster, root)
    job.wait_until("epoch 2 of trial 0", lambda: 2 in epochs(folder, 0))
    trials = cluster.of("ResourceTrainable")
    lost = cluster.node_at(next(iter(trials.values())))
    lost.lose()
    assert job.exit_status() == 0, job.said()
    assert lost.address not in cluster.alive()

    rows = trials_of(folder)
    assert [row["number"] for row in rows] == list(range(len(RATES)))
    kept = ("number", "status", "values", "seed", "epochs", "kept_epoch", "validation/loss", "validation/left/roc_auc")
    assert [[row[name] for name in kept] for row in rows] == [[row[name] for name in kept] for row in undisturbed]
    assert sum(row["failures"] for row in rows) == 1
    (failed,) = (row["number"] for row in rows if row["failures"])
    assert f"trial {failed}: its process was lost" in job.said()
    for trial in range(len(RATES)):
        logged = epochs(folder, trial)
        assert set(logged) == set(range(1, EPOCHS + 1))
        assert logged.count(1) == 1, "it began again from nothing"
        assert len(logs(folder, trial)) == EPOCHS or trial == failed


def started(cluster: RayNodes, root: Path) -> tuple[Job, Path]:
    """A search, and its folder."""
    searches = root / "runs" / "searches"
    before = set(searches.glob("*"))
    files = ["--config", str(root / "config.yaml"), "--space", str(root / "space.yaml")]
    log = root / f"search{len(before)}.txt"
    job = cluster.submit(log, "python", "-m", "jobs.tune", *files, "--concurrent", "2")
    job.wait_until("the search has a folder", lambda: set(searches.glob("*")) != before)
    return job, (set(searches.glob("*")) - before).pop()


def trials_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "trials.parquet").to_pylist()
    return rows
