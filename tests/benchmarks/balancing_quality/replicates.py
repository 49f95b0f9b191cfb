"""The AUC of one model on many resamples of the test part, the same resamples for every model.

So the difference of two models on a resample is that of their values there, whenever each was trained.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from mtl_ray.config import Config
from mtl_ray.evaluation.columns import group_numbers, task_columns
from mtl_ray.metrics import RankingMetrics
from mtl_ray.metrics.metric import FloatArray, Rows, Units
from mtl_ray.tasks import BinaryTaskConfig

REPLICATES = 200
_SEED = 0


def auc_replicates(predictions: pa.Table, config: Config, replicates: int = REPLICATES) -> dict[str, list[float]]:
    """Binary task -> AUC on each resample of the users (of the rows, where the config does not group them).

    Draws depend on the number of users alone: two tables must be of the same rows in the same order to be compared.
    """
    group_by = config.evaluation.group_by
    if group_by is None:
        unit_of_row, total = np.arange(predictions.num_rows), predictions.num_rows
    else:
        unit_of_row, total = group_numbers(predictions, group_by)
    counts = drawn(total, replicates)
    found = {}
    for name, task in config.tasks.items():
        if isinstance(task, BinaryTaskConfig):
            columns = task_columns(predictions, name, unit_of_row)
            assert columns.group is not None
            rows = Rows.checked(columns.prediction, columns.label, None, None)
            resample = RankingMetrics().resampler(rows, Units(columns.group, total))
            found[name] = [round(float(value), 7) for value in resample(counts)["roc_auc"]]
    return found


def rows_digest(predictions: pa.Table) -> str:
    """Tells whether two tables are of the same rows in the same order."""
    return hashlib.sha256(predictions["row_id"].to_numpy().tobytes()).hexdigest()[:16]


def drawn(units: int, replicates: int) -> FloatArray:
    """How often each unit is in each resample, `[replicates, units]`."""
    random = np.random.default_rng(_SEED)
    return np.stack(
        [np.bincount(random.integers(units, size=units), minlength=units) for _ in range(replicates)]
    ).astype(np.float64)
