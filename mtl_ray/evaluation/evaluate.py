"""Evaluation of a run: predictions of a part, then metrics, intervals and curves per task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.cluster import check_resources
from mtl_ray.data.snapshot import open_snapshot
from mtl_ray.data.splits import PARTS
from mtl_ray.errors import CheckpointError, ConfigError
from mtl_ray.evaluation.diagnostics.measure import diagnose
from mtl_ray.evaluation.diagnostics.result import write_diagnostics
from mtl_ray.evaluation.predict import predict_part
from mtl_ray.evaluation.results import EvaluationResult, write_result
from mtl_ray.evaluation.score import score_result
from mtl_ray.evaluation.summarise import summarise
from mtl_ray.evaluation.truth import read_truth, with_truth
from mtl_ray.predictor import Predictor
from mtl_ray.run_folder import RunFolder
from mtl_ray.tracking import add_metrics


def evaluate(place: Path | str, part: str, which: str, say: Callable[[str], None]) -> EvaluationResult:
    """Evaluate the checkpoint `which` (best, last or a folder name) of the run at `place` on `part`.

    Writes `evaluation/predictions/`, `evaluation/<part>.json` and `evaluation/diagnostics.json` in the run folder.

    Raises:
        ConfigError: no such part, or a machine without the GPU that the config asks for.
        CheckpointError: no such run or checkpoint, or a damaged one.
        SnapshotError: the training set is gone or damaged.
        DataError: the table of true probabilities cannot be used.
    """
    if part not in PARTS:
        raise ConfigError("Unknown part of the training set.", where="--split", found=part, allowed=", ".join(PARTS))
    run = RunFolder.open(place)
    config = run.config()
    check_resources(config.training.cpus_per_worker, 1 if config.training.use_gpu else 0)
    folder = run.checkpoint(which)
    checkpoint = load_checkpoint(folder)
    snapshot = open_snapshot(run.summary()["training_set"], verify=True)
    if checkpoint.context.training_set != snapshot.manifest.id:
        raise CheckpointError(
            "The checkpoint was trained on another training set than the run names.",
            where=str(folder),
            found=checkpoint.context.training_set,
            allowed=snapshot.manifest.id,
        )
    manifest = snapshot.manifest
    if manifest.rows[part] != manifest.rows_before_sampling[part]:
        raise ConfigError(
            f"The {part} part was sampled, so its metrics would be those of another population.",
            where="--split, training_set.negative_sampling and over_sampling",
            found=f"{manifest.rows[part]:,} rows of {manifest.rows_before_sampling[part]:,}",
            allowed="validation, test",
        )
    truth = None
    if config.evaluation.truth is not None:
        truth = read_truth(config.evaluation.truth, snapshot.manifest.join_keys, list(config.tasks))
    rows = sum(count for _, count in snapshot.files(part))
    say(f"predicting {rows:,} rows of {part} with {folder.name}")
    predictions = predict_part(config, snapshot, part, run.checkpoint_place(folder.name), run.predictions(part))
    if truth is not None:
        predictions = with_truth(predictions, truth)
    say(f"computing metrics with {config.evaluation.replicates} bootstrap resamples")
    results = summarise(
        predictions,
        config.tasks,
        group_by=config.evaluation.group_by,
        train_statistics=checkpoint.context.label_statistics,
        replicates=config.evaluation.replicates,
        confidence=config.evaluation.confidence,
        seed=config.seed,
        run=run.path.resolve().name,  # of the run itself where `latest` was asked for
        checkpoint=folder.name,
        split=part,
        training_set=snapshot.manifest.id,
    )
    if checkpoint.fusion is not None:
        score = score_result(
            predictions,
            checkpoint.fusion,
            config.tasks,
            group_by=config.evaluation.group_by,
            replicates=config.evaluation.replicates,
            confidence=config.evaluation.confidence,
            seed=config.seed,
        )
        results = results.model_copy(update={"score": score})
    write_result(results, run.path)
    add_metrics(run.path, _by_name(results), checkpoint.position.step)
    say("looking into the model: gates, gradients, size")
    gpu = config.training.use_gpu and torch.cuda.is_available()
    write_diagnostics(diagnose(Predictor(checkpoint, "cuda" if gpu else "cpu"), snapshot, part), run.path)
    run.publish()
    return results


def _by_name(results: EvaluationResult) -> dict[str, float | None]:
    """`<split>/<task>/<metric>` to its value."""
    return {
        f"{results.split}/{task.task}/{name}": metric.value
        for task in results.tasks
        for name, metric in task.metrics.items()
    }
