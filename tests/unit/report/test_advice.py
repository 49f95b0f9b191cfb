"""Advice follows from the run's numbers, and a proposed setting differs from the one that the run had."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mtl_ray.evaluation.results import EvaluationResult, MetricValue, TaskResult
from mtl_ray.report.advice import Advice, advice
from mtl_ray.report.history import History
from mtl_ray.report.run_files import read_run

MakeRun = Callable[..., Path]


@pytest.fixture
def history(make_run: MakeRun) -> History:
    return History(read_run(make_run()))


def click(**changes: Any) -> EvaluationResult:
    """An evaluation of one task with nothing to remark on, but for the changes."""
    task = {
        "task": "click",
        "type": "binary",
        "rows": 5000,
        "rows_in_split": 5000,
        "base": 0.2,
        "metrics": {
            "roc_auc": MetricValue(value=0.75, low=0.73, high=0.77, baseline=0.5),
            "predicted_over_observed": MetricValue(value=1.05),
        },
        "share_of_attainable": 0.95,
    }
    result = TaskResult.model_validate(task | changes)
    return EvaluationResult(
        split="test",
        rows=5000,
        replicates=20,
        confidence=0.95,
        created=datetime(2026, 5, 8, tzinfo=UTC),
        tasks=(result,),
    )


def given(history: History, evaluation: EvaluationResult | None, epochs: int | None = 3) -> list[Advice]:
    """What is said of tasks: all but what concerns the course of training and TensorBoard."""
    return [
        item for item in advice("runs/x", evaluation, history, epochs) if item.seen.startswith(("click", "The run"))
    ]


def test_nothing_is_said_of_a_good_task(history: History) -> None:
    assert given(history, click()) == []


def test_a_run_without_evaluation_is_told_how(history: History) -> None:
    assert given(history, None)[0].code == "python jobs/evaluate.py --run runs/x"


@pytest.mark.parametrize(("epochs", "code"), [(3, "training.epochs=6"), (20, "training.epochs=40"), (None, None)])
def test_more_epochs_than_there_were(history: History, epochs: int | None, code: str | None) -> None:
    (item,) = given(history, click(share_of_attainable=0.6), epochs)
    assert "60 %" in item.seen
    assert item.code == code


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"rows": 0, "metrics": {}}, "click has no label"),
        ({"rows": 900}, "judged on 900 rows alone"),
        ({"base": 0.01}, "judged on 50 positive rows alone"),
        ({"metrics": {"roc_auc": MetricValue(value=0.51, low=0.48, high=0.54, baseline=0.5)}}, "no better than"),
        ({"metrics": {"predicted_over_observed": MetricValue(value=1.25)}}, "predicted 25 % too high"),
        ({"metrics": {"predicted_over_observed": MetricValue(value=0.75)}}, "predicted 25 % too low"),
    ],
)
def test_what_is_seen_is_said(history: History, changes: dict[str, Any], seen: str) -> None:
    assert any(seen in item.seen for item in given(history, click(**changes)))
