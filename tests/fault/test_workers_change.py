"""A training whose number of workers grows and shrinks with the cluster ends as one that never changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow

# Two raylets in a process of their own: the Ray of the other tests keeps running. The workers wait where the number is
# to change, so that it always does at the same place: in epoch 3 for the second node, in epoch 5 for its loss.
DRIVER = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import parse_config
from mtl_ray.training import launch

folder = Path(sys.argv[1])
tree = json.loads((folder / "tree.json").read_text())
grow, shrink = folder / "grow", folder / "shrink"

def gated(parameters):
    from mtl_ray import distributed
    from mtl_ray.training import worker

    whole = worker.Trainer.train_epoch

    def train_epoch(self):
        at = (self.state.position.epoch, distributed.world_size())
        for gate, place in ((grow, (3, 1)), (shrink, (5, 2))):
            if at == place:
                gate.touch()
                time.sleep(600)
        whole(self)

    worker.Trainer.train_epoch = train_epoch
    return worker.train_worker(parameters)

def trained(name, workers):
    config = parse_config({**tree, "name": name, "training": {**tree["training"], "workers": workers}})
    records = []
    outcome = launch.train(config, print, records.append)
    weights = load_checkpoint(outcome.run.checkpoint("last")).weights
    kinds = {kind: [record for record in records if record["kind"] == kind] for kind in ("start", "epoch")}
    return kinds, weights

def wait_for(gate, training):
    while not gate.exists():
        assert not training.done(), training.result()
        time.sleep(0.2)

node = {"num_cpus": 2, "object_store_memory": 80_000_000}
nodes = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
try:
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    fixed, weights = trained("fixed", 1)
    launch.train_worker = gated
    # Nodes can be added in the main thread alone.
    with ThreadPoolExecutor(1) as thread:
        training = thread.submit(trained, "elastic", {"min": 1, "max": 2, "resize_every": 1})
        wait_for(grow, training)
        second = nodes.add_node(**node)
        wait_for(shrink, training)
        nodes.remove_node(second, allow_graceful=False)
        elastic, other = training.result()
    difference = max(float((weights[name] - other[name]).abs().max()) for name in weights)
    outcome = {
        "workers": [[record["workers"], record["epoch"]] for record in elastic["start"]],
        "losses": [[[each["epoch"], each["validation/loss"]] for each in kinds["epoch"]] for kinds in (fixed, elastic)],
        "difference": difference,
        "dtype": str(next(iter(weights.values())).dtype),
    }
    (folder / "outcome.json").write_text(json.dumps(outcome))
finally:
    ray.shutdown()
    nodes.shutdown()
"""


def test_one_worker_then_two_then_one(shop: Any, tmp_path: Path) -> None:
    training = {
        **shop.config["training"],
        "epochs": 6,
        "global_batch_size": 511,  # no number of two workers' equal shares
        "precision": "fp64",
        "cpus_per_worker": 2,
        "early_stopping": {"patience": None},
    }
    (tmp_path / "tree.json").write_text(json.dumps({**shop.config, "training": training}))
    environment = {name: value for name, value in shop.environment.items() if name != "RAY_ADDRESS"}
    environment |= {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", DRIVER, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads((tmp_path / "outcome.json").read_text())
    *before, (left, again) = outcome["workers"]
    assert before == [[1, 1], [2, 3]]
    # The node may be lost before Ray Train has recorded the checkpoint of epoch 4, which is then trained again.
    assert left == 1
    assert again in (4, 5)
    assert outcome["dtype"] == "torch.float64"
    fixed, elastic = outcome["losses"]
    assert [epoch for epoch, _ in elastic] == [1, 2, 3, 4, *range(again, 7)]
    for epoch, loss in elastic:
        assert loss == pytest.approx(dict(fixed)[epoch], abs=1e-6)
    assert outcome["difference"] < 1e-6
