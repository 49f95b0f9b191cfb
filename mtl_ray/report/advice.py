"""What to do next, as far as the numbers of the run tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mtl_ray.evaluation.results import EvaluationResult, TaskResult
from mtl_ray.report.comparison import judge_task
from mtl_ray.report.formatting import count, percent
from mtl_ray.report.history import History

FEW_ROWS = 1000
FEW_POSITIVES = 200
GOOD_SHARE = 0.9
CALIBRATED = 0.1
"""Largest distance of predicted / observed from 1 that passes without remark."""
OVERFIT = 0.01
"""By which share validation loss must have risen since the best epoch to be called overfitting."""


@dataclass(frozen=True)
class Advice:
    """One suggestion: what was seen, and what to try, perhaps with a command or config key to copy."""

    seen: str
    do: str
    code: str | None = None


def advice(
    run_path: str, evaluation: EvaluationResult | None, history: History, epochs_planned: int | None
) -> tuple[Advice, ...]:
    """Suggestions in order of weight; never none."""
    found: list[Advice] = []
    if evaluation is None:
        found.append(
            Advice(
                "The run has not been evaluated.",
                "Measure it on the test part; this report is then written anew.",
                f"python jobs/evaluate.py --run {run_path}",
            )
        )
    else:
        found.extend(_about_tasks(evaluation.tasks, epochs_planned))
    found.extend(_about_training(history, epochs_planned))
    found.append(
        Advice("", "Look at the curves in detail, or beside those of other runs.", f"tensorboard --logdir {run_path}")
    )
    return tuple(found)


def _about_tasks(tasks: Iterable[TaskResult], epochs_planned: int | None) -> Iterable[Advice]:
    for task in tasks:
        if task.rows == 0:
            yield Advice(
                f"{task.task} has no label in the evaluated rows.",
                "Check the label column and observed_when, or evaluate a later time range.",
            )
            continue
        yield from _about_quality(task, epochs_planned)
        yield from _about_calibration(task)
        yield from _about_rows(task)


def _about_quality(task: TaskResult, epochs_planned: int | None) -> Iterable[Advice]:
    if judge_task(task.type, task.metrics) in ("worse", "level"):
        yield Advice(
            f"{task.task} is no better than predicting the same for every row.",
            "Look whether its loss falls at all; if it does not, raise its weight or add features that bear on it.",
            f"tasks.{task.task}.weight=2",
        )
    share = task.share_of_attainable
    if share is not None and share < GOOD_SHARE:
        yield Advice(
            f"{task.task} reaches {percent(share)} of what is attainable.",
            "There is something left to learn: train longer, or with a larger model.",
            None if epochs_planned is None else f"training.epochs={2 * epochs_planned}",
        )


def _about_calibration(task: TaskResult) -> Iterable[Advice]:
    ratio = task.metrics.get("predicted_over_observed")
    if ratio is None or ratio.value is None or abs(ratio.value - 1) <= CALIBRATED:
        return
    how = "high" if ratio.value > 1 else "low"
    yield Advice(
        f"{task.task} is predicted {percent(abs(ratio.value - 1))} too {how} on the whole.",
        "The order of the rows is not harmed by it, but sums and thresholds are. Did the rate move between the "
        "training part and these rows? Then train on more recent data.",
    )


def _about_rows(task: TaskResult) -> Iterable[Advice]:
    positives = None if task.type not in ("binary", "next_item") or task.base is None else task.base * task.rows
    if task.rows < FEW_ROWS:
        yield Advice(
            f"{task.task} was judged on {count(task.rows)} rows alone.",
            "Read its intervals before its values, and evaluate on a longer time range where you can.",
        )
    elif positives is not None and positives < FEW_POSITIVES:
        yield Advice(
            f"{task.task} was judged on {count(positives)} positive rows alone.",
            "Read its intervals before its values, and evaluate on a longer time range where you can.",
        )


def _about_training(history: History, epochs_planned: int | None) -> Iterable[Advice]:
    epochs, losses = history.by_epoch("validation/loss")
    if history.best is None or len(epochs) < 2:
        return
    if history.best == epochs[-1] and epochs_planned is not None and history.epochs >= epochs_planned:
        yield Advice(
            "The last epoch was the best one.",
            "The model was still learning when training ended: give it more epochs.",
            f"training.epochs={2 * epochs_planned}",
        )
    at_best = dict(zip(epochs, losses, strict=True)).get(history.best)
    if at_best is not None and at_best > 0 and losses[-1] > (1 + OVERFIT) * at_best:
        yield Advice(
            f"Validation loss rose by {percent(losses[-1] / at_best - 1)} after epoch {history.best:g}.",
            "The model began to learn the training part by heart; the best epoch's checkpoint was kept. "
            "Dropout or weight decay may move the minimum further down.",
            "model.dropout=0.1",
        )
