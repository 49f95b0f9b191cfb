"""The ranking score of a run that has been trained: its weights, from predictions of the validation part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from mtl_ray.checkpoint import CHECKSUMS_FILE, add_fusion
from mtl_ray.config import Config
from mtl_ray.data.snapshot import Snapshot
from mtl_ray.evaluation.columns import group_numbers
from mtl_ray.evaluation.predict import predict_part
from mtl_ray.fusion import Fusion
from mtl_ray.fusion.tune import tuned
from mtl_ray.storage import is_remote, local_copy, upload

PART = "validation"


def fit_fusion(
    config: Config, snapshot: Snapshot, checkpoint: str, predictions: Path, say: Callable[[str], None]
) -> Fusion | None:
    """Choose the weights of `config.fusion` and store them with the `checkpoint`; None where the config has none.

    `checkpoint`: where every process can read it. `predictions`: folder for those of the validation part, which are
    written where there is something to tune.
    """
    fusion = config.fusion
    if fusion is None:
        return None
    found = Fusion.as_declared(fusion)
    if fusion.tune is not None:
        say(f"tuning the ranking score on {PART}: {fusion.tune.trials} sets of weights")
        table = predict_part(config, snapshot, PART, checkpoint, predictions)
        found = tuned_on(config, table)
    folder = local_copy(checkpoint)
    add_fusion(folder, found)
    if is_remote(checkpoint):
        upload(folder, checkpoint, last=(CHECKSUMS_FILE,))
    return found


def tuned_on(config: Config, predictions: pa.Table) -> Fusion:
    """The score tuned on a table of predictions, with the columns of `prediction_table`."""
    assert config.fusion is not None
    assert config.fusion.tune is not None
    group_by = config.evaluation.group_by
    groups = None if group_by is None else group_numbers(predictions, group_by)[0]
    named = {metric.split("/")[1] for metric in config.fusion.tune.metrics}
    return tuned(
        config.fusion,
        {task: predictions[f"{task}__prediction"].to_numpy() for task in config.fusion.weights},
        {
            task: (
                predictions[f"{task}__label"].to_numpy(),
                predictions[f"{task}__observed"].to_numpy(zero_copy_only=False).astype(bool),
            )
            for task in named
        },
        groups,
        config.seed,
    )
