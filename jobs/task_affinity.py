"""Which tasks to train together: measures how each task's steps change the others' losses, in one training on Ray.

python jobs/task_affinity.py --config jobs/configs/ecommerce_mmoe.yaml [--every 10] [--groups 2] [dotted.key=value ...]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl_ray.affinity import affinity_tables, measure_affinity
from mtl_ray.command_line import console, emit, run, say
from mtl_ray.config import load_config
from mtl_ray.training.view import TrainingView


def main(
    config: Annotated[Path, typer.Option(help="YAML config.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="dotted.key=value")] = None,
    every: Annotated[int, typer.Option(min=1, help="Steps from one measured step to the next.")] = 10,
    groups: Annotated[int | None, typer.Option(help="Largest number of groups; else 2, 3 and 4.")] = None,
) -> None:
    """Write task_affinity.html and task_affinity.json into <storage>/task_affinity/<name>/."""
    loaded = load_config(config, [*(overrides or ()), f"training.affinity_every={every}"])
    with TrainingView(console) as view:
        found = measure_affinity(loaded, groups, say, view.show)
    emit(found.summary())
    console.print(affinity_tables(found))
    say(f"written to {found.page}")


if __name__ == "__main__":
    run(main)
