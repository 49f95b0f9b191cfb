"""One training with one method, and what its differences to others are computed from."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mtl_ray.config import Config, parse_config
from mtl_ray.data.snapshot import Snapshot, open_snapshot
from mtl_ray.predictor import Predictor
from tests.benchmarks.balancing_quality.replicates import auc_replicates, rows_digest
from tests.benchmarks.balancing_quality.scaled_loss import with_scaled_losses
from tests.benchmarks.measure import Side
from tests.benchmarks.quality.figures import evaluated
from tests.benchmarks.quality.loop import Trained, train_here
from tests.benchmarks.quality.ours import predictions


@dataclass(frozen=True)
class BalancedTraining:
    """Trained in `run`; figures of its best epoch."""

    config: Config
    snapshot: Snapshot
    scaled: Mapping[str, float]
    """Task -> what its training loss is multiplied by."""
    folder: Path
    """Of the best epoch's checkpoint."""
    keep: str | None = None
    """What the files begin with in which predictions are kept; None: they are not."""

    def warm_up(self) -> None:
        """Nothing: imports are done."""

    def run(self) -> tuple[Trained, float]:
        """Train to the end or until early stopping; with the processor's seconds, which others' work does not touch."""
        began = time.process_time()
        trained = train_here(with_scaled_losses(self.config, self.scaled), self.snapshot, self.folder)
        return trained, time.process_time() - began

    def check(self, result: tuple[Trained, float]) -> dict[str, Any]:
        """Metrics, and the AUC of the test part on every resample. The checkpoint is removed."""
        predicted = partial(predictions, Predictor.load(self.folder), self.config, self.snapshot)
        shutil.rmtree(self.folder)
        tables = {part: predicted(part) for part in ("validation", "test")}
        trained, cpu_seconds = result
        return {
            "cpu_seconds": cpu_seconds,
            "parameters": trained.parameters,
            "epochs": len(trained.epochs),
            "best_epoch": trained.best_epoch,
            "validation_loss": [epoch["loss"] for epoch in trained.epochs],
            "threads": torch.get_num_threads(),
            "test_rows": rows_digest(tables["test"]),
            "replicates": auc_replicates(tables["test"], self.config),
            **evaluated(self.config, self.snapshot, tables.__getitem__, self.keep),
        }


def training(
    snapshot: str, seed: int, config: dict[str, Any], scaled: dict[str, float], keep: str | None = None
) -> Side:
    """Target of `measure`; `config` is the whole tree, whose seed is replaced."""
    parsed = parse_config({**config, "seed": seed})
    folder = tempfile.mkdtemp(prefix="balancing-quality-checkpoint-")
    return BalancedTraining(parsed, open_snapshot(snapshot), scaled, Path(folder), keep)
