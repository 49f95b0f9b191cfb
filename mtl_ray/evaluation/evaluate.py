"""Evaluation of a run: predictions of a part, then metrics, intervals and curves per task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.data.snapshot import open_snapshot
from mtl_ray.errors import CheckpointError, ConfigError
from mtl_ray.evaluation.predict import predict_part
from mtl_ray.evaluation.results import EvaluationResult, write_result
from mtl_ray.evaluation.summarise import summarise
from mtl_ray.evaluation.truth import with_truth
from mtl_ray.run_folder import RunFolder

PARTS = ("train", "validation", "test")


def evaluate(path: Path, part: str, which: str, say: Callable[[str], None]) -> EvaluationResult:
    """Evaluate the checkpoint `which` (best, last or a folder name) of the run at `path` on `part`.

    Writes `evaluation/predictions/` and `evaluation/<part>.json` in the run folder.

    Raises:
        CheckpointError: no such run or checkpoint, or a damaged one.
        SnapshotError: the training set is gone or damaged.
    """
    if part not in PARTS:
        raise ConfigError("Unknown part of the training set.", where="--split", found=part, allowed=", ".join(PARTS))
    run = RunFolder.open(path)
    config = run.config()
    folder = run.checkpoint(which)
    checkpoint = load_checkpoint(folder)
    snapshot = open_snapshot(Path(run.summary()["training_set"]))
    if checkpoint.context.training_set != snapshot.manifest.id:
        raise CheckpointError(
            "The checkpoint was trained on another training set than the run names.",
            where=str(folder),
            found=checkpoint.context.training_set,
            allowed=snapshot.manifest.id,
        )
    rows = sum(count for _, count in snapshot.files(part))
    say(f"predicting {rows:,} rows of {part} with {folder.name}")
    predictions = predict_part(config, snapshot, part, folder, run.predictions(part))
    if config.evaluation.truth is not None:
        predictions = with_truth(predictions, config.evaluation.truth, snapshot.manifest.join_keys, list(config.tasks))
    say(f"computing metrics with {config.evaluation.replicates} bootstrap resamples")
    results = summarise(
        predictions,
        config.tasks,
        group_by=config.evaluation.group_by,
        train_statistics=checkpoint.context.label_statistics,
        replicates=config.evaluation.replicates,
        confidence=config.evaluation.confidence,
        seed=config.seed,
        run=run.path.name,
        checkpoint=folder.name,
        split=part,
        training_set=snapshot.manifest.id,
    )
    write_result(results, run.path)
    return results
