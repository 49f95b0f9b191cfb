"""How much offline AUC a plain join on the keys would have faked, view by view: trains shortly on both joins.

python jobs/leak_check.py --config jobs/configs/ecommerce_mmoe.yaml [--rows 100000] [dotted.key=value ...]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl_ray.command_line import console, emit, run, say
from mtl_ray.config import load_config
from mtl_ray.leak_check import check_leaks, leak_table


def main(
    config: Annotated[Path, typer.Option(help="YAML config.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="dotted.key=value")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Spine rows to look at, about.")] = 100_000,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training.")] = 2,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings behind each AUC.")] = 3,
    keep: Annotated[bool, typer.Option(help="Keep the sample and its training sets.")] = False,
) -> None:
    """Write leak_check.html and leak_check.json into <storage>/leak_check/<name>/."""
    found = check_leaks(load_config(config, overrides or ()), rows, epochs, seeds, keep, say)
    emit(found.summary())
    console.print(leak_table(found))
    say(f"written to {found.page}")


if __name__ == "__main__":
    run(main)
