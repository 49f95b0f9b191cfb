"""Trainings on simulated nodes, and what they leave."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import yaml

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.run_folder import RunFolder
from mtl_ray.tracking import read_metrics
from tests.cluster.ray_nodes import Job, RayNodes


def tree_of(shop: Any, storage: Path, name: str) -> dict[str, Any]:
    """A config for two workers, neither of which finds room on the node of the other."""
    training = {
        **shop.config["training"],
        "epochs": 3,
        "global_batch_size": 128,
        "cpus_per_worker": 2,
        "checkpoint_every": 20,  # steps, of the 73 of an epoch
        "log_every": 1,
        "max_failures": 1,
    }
    return {**shop.config, "name": name, "storage": str(storage), "training": training}


class Training:
    """One that is submitted as a job, once or again."""

    job: Job
    """The one that was submitted last."""

    def __init__(self, cluster: RayNodes, tree: dict[str, Any], folder: Path) -> None:
        """`folder` receives its config and what its jobs say."""
        self._cluster = cluster
        self._folder = folder
        self._name = tree["name"]
        self._storage = Path(tree["storage"])
        (folder / f"{self._name}.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))

    def submit(self, *options: str) -> None:
        """Submit it with these options of jobs/train.py."""
        log = self._folder / f"{self._name}-{len(list(self._folder.glob(f'{self._name}-*.txt')))}.txt"
        config = str(self._folder / f"{self._name}.yaml")
        self.job = self._cluster.submit(log, "python", "-m", "jobs.train", "--config", config, *options)

    def run(self) -> RunFolder:
        """The one run of this name, which has ended."""
        (folder,) = self._storage.glob(f"{self._name}-*")
        return RunFolder.open(folder)

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Of the one run of this name, as far as it has come."""
        files = list(self._storage.glob(f"{self._name}-*/metrics.jsonl"))
        assert len(files) < 2, files
        with warnings.catch_warnings(action="ignore"):  # the last line may be half written
            return [each for file in files for each in read_metrics(file) if each["kind"] == kind]

    def steps(self) -> list[int]:
        """Those that were logged, in order; one that was repeated is there twice."""
        return [each["step"] for each in self.records("step")]

    def steps_an_epoch(self) -> int:
        """Of a training that has ended."""
        summary = self.run().summary()
        return int(summary["steps"]) // int(summary["epochs"])

    def begun_again_at(self) -> list[int]:
        """The steps with which it went back to a checkpoint."""
        steps = self.steps()
        return [step for before, step in pairwise(steps) if step <= before]

    def wait_for(self, epoch: int, step: int) -> None:
        """Until it has made that step of that epoch."""

        def made() -> bool:
            return any(each["epoch"] == epoch and each["epoch_step"] >= step for each in self.records("step"))

        self.job.wait_until(f"step {step} of epoch {epoch}", made)


def assert_the_same_end(one: Training, other: Training) -> None:
    """The same model, and the same figures of the last epoch, bit for bit."""
    models = [load_checkpoint(each.run().checkpoint("last")) for each in (one, other)]
    assert models[0].position == models[1].position
    assert models[0].weights.keys() == models[1].weights.keys()
    for name, tensor in models[0].weights.items():
        assert torch.equal(tensor, models[1].weights[name]), name
    ends = [each.records("epoch")[-1] for each in (one, other)]
    validated = [{key: value for key, value in end.items() if key.startswith("validation/")} for end in ends]
    assert validated[0] == validated[1]
    assert validated[0]
    for name in ("epochs", "steps", "best", "best_epoch"):
        assert one.run().summary()[name] == other.run().summary()[name]
