"""Join the spine with the feature service, check, split, fit the preprocessing and write the encoded training set.

python jobs/build_training_set.py --config jobs/configs/ecommerce_mmoe.yaml [dotted.key=value ...]
python jobs/build_training_set.py --config CONFIG --since 2026-02-10T00:00:00+00:00   # append newer rows
python jobs/build_training_set.py --config CONFIG --newer                              # those after the last one
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from mtl_ray.command_line import console, emit, run, say
from mtl_ray.config import load_config
from mtl_ray.data.contract.table import contract_table
from mtl_ray.data.snapshot import build_training_set
from mtl_ray.errors import ConfigError


def main(
    config: Annotated[Path, typer.Option(help="YAML config.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="dotted.key=value")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"], help="Append rows from here.")
    ] = None,
    newer: Annotated[bool, typer.Option("--newer", help="Append the rows after the newest set's last one.")] = False,
    base: Annotated[str | None, typer.Option(help="Training set to append to; the newest without it.")] = None,
) -> None:
    """Build a training set, or find the one that the same inputs gave before."""
    c = load_config(config, overrides or ())
    group_by = c.evaluation.group_by
    if newer and since is not None:
        raise ConfigError("One of both says which rows are new.", where="command line", found="--since and --newer")
    built = build_training_set(c.storage, c.features, c.training_set, c.tasks, group_by, say, since, base, newer=newer)
    emit(built.summary())
    console.print(contract_table(built.contract()))


if __name__ == "__main__":
    run(main)
