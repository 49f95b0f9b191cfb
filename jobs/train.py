"""Train a multi-task model on Ray, distributed, from a training set that is built when it is not there yet.

python jobs/train.py --config jobs/configs/ecommerce_mmoe.yaml [dotted.key=value ...]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl_ray.command_line import console, emit, run, say
from mtl_ray.config import load_config
from mtl_ray.report import write_report
from mtl_ray.training.launch import train
from mtl_ray.training.view import TrainingView


def main(
    config: Annotated[Path, typer.Option(help="YAML config.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="dotted.key=value")] = None,
) -> None:
    """Train; the result names the run folder."""
    with TrainingView(console) as view:
        outcome = train(load_config(config, overrides or ()), say, view.show)
    report = write_report(outcome.run.path)
    emit({"run": str(outcome.run.path), **outcome.summary, "report": str(report)})


if __name__ == "__main__":
    run(main)
