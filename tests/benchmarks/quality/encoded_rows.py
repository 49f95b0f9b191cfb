"""The snapshot's encoded rows as the peers read them: the same values that our models get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mtl_ray.batch import Batch
from mtl_ray.config import Config
from mtl_ray.data.snapshot import Snapshot
from mtl_ray.data.tensors import to_batch
from mtl_ray.schema import BatchSchema
from mtl_ray.tasks import BinaryTaskConfig, RegressionTaskConfig
from tests.benchmarks.quality.figures import read_part


@dataclass(frozen=True)
class EncodedRows:
    """One part of the snapshot, in the order in which it is stored."""

    batch: Batch
    schema: BatchSchema

    @classmethod
    def read(cls, snapshot: Snapshot, part: str) -> EncodedRows:
        """All rows of `part`."""
        return cls(to_batch(read_part(snapshot, part, None), snapshot.schema), snapshot.schema)

    def label(self, task: str) -> np.ndarray:
        """Raw labels `[rows]`, NaN where not observed."""
        index = self.schema.tasks.index(task)
        values: np.ndarray = torch.where(self.batch.observed[:, index], self.batch.labels[:, index], torch.nan).numpy()
        return values


@dataclass(frozen=True)
class Target:
    """A label as a peer learns it: a probability as it is, a number on the scale on which our task learns it too."""

    name: str
    weight: float
    regression: bool
    log1p: bool = False
    mean: float = 0.0
    std: float = 1.0

    def encode(self, label: np.ndarray) -> np.ndarray:
        """From label units."""
        if not self.regression:
            return label
        return ((np.log1p(label) if self.log1p else label) - self.mean) / self.std

    def decode(self, prediction: np.ndarray) -> np.ndarray:
        """To label units."""
        if not self.regression:
            return prediction
        value = prediction * self.std + self.mean
        return np.expm1(np.maximum(value, 0.0)) if self.log1p else value


def targets(config: Config, snapshot: Snapshot) -> list[Target]:
    """The binary and regression tasks, in task order."""
    found = []
    for name, task in config.tasks.items():
        if isinstance(task, BinaryTaskConfig):
            found.append(Target(name, task.weight, regression=False))
        elif isinstance(task, RegressionTaskConfig):
            statistics = snapshot.manifest.label_statistics[name]
            mean, std = statistics.transformed_mean or 0.0, statistics.transformed_std or 1.0
            found.append(Target(name, task.weight, True, task.transform == "log1p", mean, std))
    return found
