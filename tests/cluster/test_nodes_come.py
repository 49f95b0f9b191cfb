"""On a cluster that scales itself, a training waits for the nodes that its workers ask for."""

from __future__ import annotations

import pytest

from tests.cluster.trainings import Training

pytestmark = pytest.mark.slow


def test_a_training_is_submitted_before_its_nodes_are_there(undisturbed: Training) -> None:
    """The fixture has seen its workers wait."""
    assert undisturbed.run().summary()["epochs"] == 3
