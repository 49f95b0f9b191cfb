"""Append the newest rows to the newest training set, and train on it from what the newest run of this name has learnt.

python jobs/retrain.py --config jobs/configs/ecommerce_mmoe.yaml [dotted.key=value ...]

Run again, after a loss or by a scheduler, it goes on where it stood, and repeats nothing that is done.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl_ray.command_line import console, emit, run, say
from mtl_ray.config import load_config
from mtl_ray.report.page import publish_report
from mtl_ray.training.retrain import retrain
from mtl_ray.training.view import TrainingView


def main(
    config: Annotated[Path, typer.Option(help="YAML config.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="dotted.key=value")] = None,
) -> None:
    """Bring training set and model up to date; the result names the run folder."""
    parsed = load_config(config, overrides or ())
    with TrainingView(console) as view:
        outcome = retrain(parsed, say, view.show)
    report = publish_report(outcome.run.place)
    emit({"run": outcome.run.place, **outcome.summary, "report": report})


if __name__ == "__main__":
    run(main)
