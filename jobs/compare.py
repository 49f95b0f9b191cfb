"""Train several configs on one training set and compare them row by row; with --twins, tell negative transfer.

python jobs/compare.py --config A.yaml --config B.yaml [--twins] [--parallel 2] [--split test] [dotted.key=value ...]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl_ray.command_line import console, emit, run, say
from mtl_ray.comparison import compare, comparison_table
from mtl_ray.config import load_config


def main(
    config: Annotated[list[Path], typer.Option(help="YAML config; the first is what the others are compared with.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="dotted.key=value, for all configs")] = None,
    twins: Annotated[bool, typer.Option("--twins", help="Train each task alone as well.")] = False,
    parallel: Annotated[int | None, typer.Option(min=1, help="Trainings at a time; else all that fit.")] = None,
    split: Annotated[str, typer.Option(help="Part to compare on: validation or test.")] = "test",
) -> None:
    """Write comparison.html and comparison.json into <storage>/comparisons/; exit status 1 where a training failed."""
    found = compare([load_config(path, overrides or ()) for path in config], twins, split, parallel, say)
    emit(found.summary())
    console.print(comparison_table(found))
    say(f"written to {found.folder}")
    raise typer.Exit(1 if found.failed else 0)


if __name__ == "__main__":
    run(main)
