"""The stored document of one evaluation: `<run>/evaluation/<split>.json`."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from pydantic import Field, ValidationError

from mtl_ray.errors import DataError, StorageError
from mtl_ray.fusion import Fusion
from mtl_ray.schema import Settings


class MetricValue(Settings):
    """One metric; None where it is not defined (no observed row, one class only) or was not asked for."""

    value: float | None
    low: float | None = None
    """Lower end of the bootstrap interval."""
    high: float | None = None
    baseline: float | None = None
    """The same metric on the same rows, predicting the training part's base rate, mean or class shares."""


class TaskResult(Settings):
    """One task on one split."""

    task: str
    type: str
    """binary, multiclass or regression."""
    rows: int
    """Rows with an observed label: what every metric is over."""
    rows_in_split: int
    base: float | None = None
    """Base rate (binary) or mean of the label (regression) in these rows."""
    threshold: float | None = None
    """Binary: probability from which accuracy, precision, recall and F1 count a row as positive."""
    metrics: dict[str, MetricValue]
    attainable: dict[str, float] | None = None
    """Binary, simulated data only: the metrics of the true probabilities on the same rows."""
    share_of_attainable: float | None = None
    """(ROC-AUC - 0.5) / (attainable ROC-AUC - 0.5)."""
    curves: dict[str, dict[str, list[float]]] = Field(default_factory=dict)
    """What the report draws: see `mtl_ray.evaluation.curves`."""


class ScoreResult(Settings):
    """How well the ranking score orders by the label of each binary task."""

    fusion: Fusion
    metrics: dict[str, dict[str, MetricValue]]
    """Task -> roc_auc and, where rows are grouped, gauc, on the rows where its label is observed; `baseline`: the same
    of that task's own prediction."""


class EvaluationResult(Settings):
    """Every task of one checkpoint on one split."""

    run: str | None = None
    checkpoint: str | None = None
    split: str
    training_set: str | None = None
    """Identity of the snapshot."""
    rows: int
    groups: int | None = None
    """Distinct values of `group_by` in the split."""
    group_by: str | None = None
    """Column whose groups are ranked (gauc) and resampled whole; None: single rows are resampled."""
    replicates: int
    confidence: float
    created: datetime
    tasks: tuple[TaskResult, ...]
    score: ScoreResult | None = None
    """None where the checkpoint has no ranking score."""

    def task(self, name: str) -> TaskResult:
        """The result of one task. Raises KeyError with the tasks that there are."""
        for result in self.tasks:
            if result.task == name:
                return result
        raise KeyError(f"no task {name!r} among {[result.task for result in self.tasks]}")


def result_file(run_folder: Path, split: str) -> Path:
    """Where a run has the result on `split`."""
    return run_folder / "evaluation" / f"{split}.json"


def write_result(result: EvaluationResult, run_folder: Path) -> Path:
    """Writes `<run_folder>/evaluation/<split>.json`, whole or not at all; returns the path.

    Raises StorageError where the folder cannot be written.
    """
    path = result_file(run_folder, result.split)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise StorageError(
            "The evaluation's result cannot be written.",
            where=str(path),
            found=error.strerror,
            fix="make the run folder writable, with free space",
        ) from error
    return path


def read_result(path: Path) -> EvaluationResult:
    """Reads what `write_result` wrote. Raises StorageError if absent, DataError if it is something else."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StorageError(
            "There is no evaluation result to read.",
            where=str(path),
            found=error.strerror,
            fix="python jobs/evaluate.py --run RUN",
        ) from error
    try:
        return EvaluationResult.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(
            "The evaluation result is damaged or from another version.",
            where=f"{path}, field {field}" if field else str(path),
            found=first["msg"],
            fix="python jobs/evaluate.py --run RUN",
        ) from error
