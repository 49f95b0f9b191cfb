"""The head is lost and comes again: what it knew is in Redis, and a training that is submitted again goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import redis_server
from tests.cluster.ray_nodes import RayNodes
from tests.cluster.trainings import Training, assert_the_same_end, tree_of

REASON = redis_server.missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(REASON is not None, reason=REASON or "")]


def test_a_training_is_submitted_again(
    cluster: RayNodes,
    shop: Any,
    trainings: Path,
    undisturbed: Training,
    record_property: Callable[[str, object], None],
) -> None:
    """Its driver ran on the head. The other nodes wait for the head, and what was trained is not lost."""
    cluster.fill(3)
    training = Training(cluster, tree_of(shop, trainings / "runs", "head_lost"), trainings)
    training.submit("--resume", "auto")
    training.wait_for(epoch=1, step=1)
    workers = cluster.worker_ids()
    training.wait_for(epoch=2, step=30)
    cluster.head.lose()
    began = time.monotonic()
    cluster.start_head()
    record_property("seconds from the loss to a head that takes jobs", round(time.monotonic() - began, 1))
    assert training.job.exit_status() == 1, training.job.said()
    assert "is lost with the node that its driver ran on" in training.job.said()

    training.submit("--resume", "auto")
    assert training.job.exit_status() == 0, training.job.said()
    assert "going on with" in training.job.said()
    assert cluster.worker_ids() == workers, "these nodes did not wait for the head"
    assert_the_same_end(training, undisturbed)
    (again,) = training.begun_again_at()
    assert again > undisturbed.steps_an_epoch() + 1, "a checkpoint within the epoch was passed over"
    assert cluster.of("Train") == {}, "actors of the first job or the second remain"
