"""The cluster of simulated nodes, and a training on it that loses nothing, which the tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mtl_ray.config import parse_config
from mtl_ray.training.launch import verified_training_set
from tests.cluster.nodes import missing
from tests.cluster.ray_nodes import RayNodes, ray_nodes
from tests.cluster.trainings import Training, tree_of


@pytest.fixture(scope="session", autouse=True)
def _nodes_can_be_simulated() -> None:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster(shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    """A head and a worker node; tests add more (`fill`)."""
    environment = {"ECOMMERCE_DATA": shop.environment["ECOMMERCE_DATA"]}
    with ray_nodes(tmp_path_factory.mktemp("nodes"), workers=1, environment=environment) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def trainings(shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the trainings, with their training set in its `runs`."""
    folder = tmp_path_factory.mktemp("trainings")
    verified_training_set(parse_config(tree_of(shop, folder / "runs", "none")), lambda _: None)
    return folder


@pytest.fixture(scope="session")
def undisturbed(cluster: RayNodes, shop: Any, trainings: Path) -> Training:
    """One that loses nothing. It was submitted when its workers had no room yet."""
    cluster.shrink(1)
    training = Training(cluster, tree_of(shop, trainings / "runs", "undisturbed"), trainings)
    training.submit()
    training.job.wait_until("its workers wait for nodes", cluster.has_pending_workers)
    cluster.fill(3)
    assert training.job.exit_status() == 0, training.job.said()
    return training
