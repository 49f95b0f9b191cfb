"""Train a multi-task model on Ray, distributed, from a training set that is built when it is not there yet.

python jobs/train.py --config jobs/configs/ecommerce_mmoe.yaml [--resume auto] [dotted.key=value ...]
python jobs/train.py --resume RUN
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl_ray.command_line import console, emit, run, say
from mtl_ray.config import load_config
from mtl_ray.report.page import publish_report
from mtl_ray.training.resume import train_or_resume
from mtl_ray.training.view import TrainingView


def main(
    config: Annotated[Path | None, typer.Option(help="YAML config.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="dotted.key=value")] = None,
    resume: Annotated[str | None, typer.Option(help="A run to go on with, or auto: one of this config.")] = None,
    find_batch_size: Annotated[
        bool, typer.Option("--find-batch-size", help="Double the batch first, for as long as that pays and fits.")
    ] = False,
) -> None:
    """Train; the result names the run folder."""
    parsed = None if config is None else load_config(config, overrides or ())
    with TrainingView(console) as view:
        outcome = train_or_resume(parsed, resume, say, view.show, find_batch_size)
    report = publish_report(outcome.run.place)
    emit({"run": outcome.run.place, **outcome.summary, "report": report})


if __name__ == "__main__":
    run(main)
