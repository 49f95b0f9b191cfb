"""Our side: one architecture on the snapshot, trained and predicted with the product's own parts."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from mtl_ray.config import Config, parse_config
from mtl_ray.data.snapshot import Snapshot, open_snapshot
from mtl_ray.evaluation.predict import prediction_table
from mtl_ray.predictor import Predictor
from tests.benchmarks.measure import Side
from tests.benchmarks.quality.figures import carried_columns, evaluated, read_part
from tests.benchmarks.quality.loop import Trained, train_here


@dataclass(frozen=True)
class Training:
    """One training; figures of its best epoch."""

    config: Config
    snapshot: Snapshot
    checkpoint: Path
    keep: str | None = None

    def warm_up(self) -> None:
        """Nothing: imports are done."""

    def run(self) -> Trained:
        """Train to the end or until early stopping."""
        return train_here(self.config, self.snapshot, self.checkpoint)

    def check(self, result: Trained) -> dict[str, Any]:
        """Predict with the checkpoint of the best epoch, which is removed."""
        predictor = Predictor.load(self.checkpoint)
        shutil.rmtree(self.checkpoint)
        return {
            "parameters": result.parameters,
            "epochs": len(result.epochs),
            "best_epoch": result.best_epoch,
            "validation_loss": [epoch["loss"] for epoch in result.epochs],
            "threads": torch.get_num_threads(),
            **evaluated(
                self.config, self.snapshot, partial(predictions, predictor, self.config, self.snapshot), self.keep
            ),
        }


def predictions(predictor: Predictor, config: Config, snapshot: Snapshot, part: str) -> pa.Table:
    """The predictions of `part`, by row_id."""
    carried = carried_columns(snapshot, config.evaluation.group_by)
    table = read_part(snapshot, part, config.evaluation.group_by)
    size = config.evaluation.batch_size
    blocks = [table.slice(begin, size).combine_chunks() for begin in range(0, table.num_rows, size)]
    return pa.concat_tables([prediction_table(predictor, block, carried) for block in blocks]).sort_by("row_id")


def training(snapshot: str, seed: int, config: dict[str, Any], keep: str | None = None) -> Side:
    """Target of `measure`; `config` is the whole tree, whose seed is replaced."""
    parsed = parse_config({**config, "seed": seed})
    folder = tempfile.mkdtemp(prefix="quality-checkpoint-")
    return Training(parsed, open_snapshot(snapshot), Path(folder), keep)
