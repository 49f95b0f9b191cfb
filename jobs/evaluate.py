"""Evaluate a run on its test part, exactly and distributed, and write its report.

python jobs/evaluate.py --run runs/latest
"""

from __future__ import annotations

from typing import Annotated

import typer

from mtl_ray.command_line import console, emit, run, say
from mtl_ray.evaluation.evaluate import evaluate
from mtl_ray.evaluation.table import results_table
from mtl_ray.report.page import publish_report


def main(
    run_folder: Annotated[str, typer.Option("--run", help="Run folder or URI that jobs/train.py printed.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    checkpoint: Annotated[str, typer.Option(help="best, last or the name of a checkpoint folder.")] = "best",
) -> None:
    """Evaluate a run; the result names the report."""
    results = evaluate(run_folder, split, checkpoint, say)
    report = publish_report(run_folder)
    metrics = {task.task: {name: metric.value for name, metric in task.metrics.items()} for task in results.tasks}
    emit({"run": run_folder, "split": split, "report": report, "metrics": metrics})
    console.print(results_table(results))
    console.print(f"report: {report}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(main)
