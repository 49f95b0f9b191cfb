"""A training that loses a node goes on with the others, and ends as one that loses nothing: bit for bit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.cluster.ray_nodes import RayNodes
from tests.cluster.trainings import Training, assert_the_same_end, tree_of

pytestmark = pytest.mark.slow


def test_a_node_is_lost_in_mid_epoch(
    cluster: RayNodes,
    shop: Any,
    trainings: Path,
    undisturbed: Training,
    record_property: Callable[[str, object], None],
) -> None:
    cluster.fill(3)
    training = Training(cluster, tree_of(shop, trainings / "runs", "node_lost"), trainings)
    training.submit()
    training.wait_for(epoch=1, step=1)
    trainers = sorted(set(cluster.of("TrainWorker").values()))
    assert len(trainers) == 2, "each worker has a node of its own"
    assert set(cluster.of("ProgressBoard").values()) == {cluster.head.address}, "it could be lost with a worker"
    lost = cluster.node_at(trainers[0])
    training.wait_for(epoch=2, step=30)
    lost.lose()
    began = time.monotonic()
    training.job.wait_until("it goes on", lambda: bool(training.begun_again_at()))
    record_property("seconds from the loss to the next step", round(time.monotonic() - began, 1))
    run = training.run().path.name
    training.job.wait_until("a restart is counted", lambda: bool(restarts(cluster, run)))
    assert restarts(cluster, run) == [1.0]
    assert training.job.exit_status() == 0, training.job.said()
    assert lost.address not in cluster.alive()
    assert_the_same_end(training, undisturbed)
    (again,) = training.begun_again_at()
    assert again > undisturbed.steps_an_epoch() + 1, "a checkpoint within the epoch was passed over"


def restarts(cluster: RayNodes, run: str) -> list[float]:
    """How often the run's workers were started again, as the head's node exports it; nothing where never."""
    lines = requests.get(f"{cluster.client.metrics}/metrics", timeout=30).text.splitlines()
    counts = [line for line in lines if line.startswith("ray_mtl_worker_restarts_total{") and f'run="{run}"' in line]
    return [float(line.rsplit(" ", 1)[1]) for line in counts]
