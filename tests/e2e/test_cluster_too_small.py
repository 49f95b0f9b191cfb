"""What two Ray nodes could never offer is refused, with what they have, instead of waited for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# Two raylets in a process of their own: the Ray of the other tests keeps running.
DRIVER = """
import json, sys
import ray
from ray.cluster_utils import Cluster
from mtl_ray import cluster as ours
from mtl_ray.errors import ConfigError

def said(workers, cpus_per_worker, use_gpu=False):
    try:
        ours.check_cluster(workers, cpus_per_worker, use_gpu)
    except ConfigError as error:
        return str(error)

ours.NODES_JOIN_SECONDS = 0.0
node = {"num_cpus": 4, "object_store_memory": 80_000_000}
nodes = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
try:
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    alone = {"every CPU": said(4, 1), "one more": said(5, 1), "GPU": said(1, 1, use_gpu=True)}
    nodes.add_node(**node)
    nodes.wait_for_nodes()
    outcome = {"alone": alone, "two": {"eight": said(8, 1), "one too large": said(1, 5), "two": said(2, 4)}}
    with open(sys.argv[1], "w") as file:
        json.dump(outcome, file)
finally:
    ray.shutdown()
    nodes.shutdown()
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `check_cluster` says, by what was asked for; None where it agrees."""
    path = tmp_path_factory.mktemp("too_small") / "said.json"
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", DRIVER, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_what_fits_is_allowed(said: dict[str, Any]) -> None:
    assert said["alone"]["every CPU"] is None
    assert said["two"]["eight"] is None
    assert said["two"]["two"] is None


def test_too_few_cpus(said: dict[str, Any]) -> None:
    assert "too small for so many workers" in said["alone"]["one more"]
    assert "5 CPUs; the cluster has 4" in said["alone"]["one more"]


def test_too_few_gpus(said: dict[str, Any]) -> None:
    assert "too few GPUs" in said["alone"]["GPU"]
    assert "training.use_gpu=false" in said["alone"]["GPU"]


def test_a_worker_that_fits_on_no_node(said: dict[str, Any]) -> None:
    assert "No node of the cluster is large enough" in said["two"]["one too large"]
    assert "1 workers of 5 CPUs, and places for 0" in said["two"]["one too large"]
