"""What several trainings of one side predict together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import expit, logit

from mtl_ray.config import Config
from mtl_ray.data.snapshot import Snapshot
from mtl_ray.tasks import BinaryTaskConfig
from tests.benchmarks.quality.figures import evaluated, predictions_file

_LEAST = 1e-7
"""Probabilities are kept this far from 0 and 1, where the logit is infinite."""


def averaged(config: Config, snapshot: Snapshot, kept: Sequence[str]) -> dict[str, Any]:
    """Figures of the mean of the predictions that the trainings left: of logits at binary tasks, else of numbers."""
    return evaluated(config, snapshot, partial(_mean, config, kept))


def _mean(config: Config, kept: Sequence[str], part: str) -> pa.Table:
    tables = [pq.read_table(predictions_file(one, part)).sort_by("row_id") for one in kept]
    total = tables[0]
    for name, task in config.tasks.items():
        column = f"{name}__prediction"
        if column in total.column_names:
            values = np.stack([np.asarray(table.column(column), dtype=np.float64) for table in tables])
            mean = _mean_probability(values) if isinstance(task, BinaryTaskConfig) else values.mean(axis=0)
            total = total.set_column(total.column_names.index(column), column, pa.array(mean.astype(np.float32)))
    return total


def _mean_probability(values: np.ndarray) -> np.ndarray:
    """From `[trainings, rows]` to `[rows]`."""
    probabilities: np.ndarray = expit(logit(values.clip(_LEAST, 1.0 - _LEAST)).mean(axis=0))
    return probabilities
