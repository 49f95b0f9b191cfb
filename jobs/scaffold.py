"""Make a project from a flat CSV or Parquet table: Parquet sources, Feast repository, config and README.

python jobs/scaffold.py --table titanic.csv --out titanic --label survived:binary --label class:multiclass
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl_ray.command_line import console, emit, run, say
from mtl_ray.scaffold import scaffold, scaffold_screen


def main(
    table: Annotated[list[Path], typer.Option(help="CSV or Parquet; the first is the spine, others hold features.")],
    out: Annotated[Path, typer.Option(help="Folder of the project.")],
    label: Annotated[list[str], typer.Option(help="NAME:TYPE (binary, multiclass, regression), or NAME.")],
    entity: Annotated[list[str] | None, typer.Option(help="Column whose ids name a user, an item, ...")] = None,
    timestamp: Annotated[str | None, typer.Option(help="Column that says when a row happened.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="Column to use in spite of a warning.")] = None,
    force: Annotated[bool, typer.Option(help="Replace the project in --out.")] = False,
) -> None:
    """Make a project; the result names the commands that come next."""
    roles = {"labels": label, "entities": entity or [], "keep": keep or []}
    written = scaffold(table, out, **roles, timestamp=timestamp, force=force, jobs=Path(__file__).parent, progress=say)
    emit(written.summary())
    console.print(scaffold_screen(written), soft_wrap=True)


if __name__ == "__main__":
    run(main)
