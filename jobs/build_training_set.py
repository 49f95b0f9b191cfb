"""Join the spine with the feature service, split, fit the preprocessing and write the encoded training set.

python jobs/build_training_set.py --config jobs/configs/ecommerce_mmoe.yaml [dotted.key=value ...]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl_ray.command_line import emit, run, say
from mtl_ray.config import load_config
from mtl_ray.data.snapshot import build_training_set


def main(
    config: Annotated[Path, typer.Option(help="YAML config.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="dotted.key=value")] = None,
) -> None:
    """Build a training set, or find the one that the same inputs gave before."""
    c = load_config(config, overrides or ())
    emit(build_training_set(c.storage, c.features, c.training_set, c.tasks, c.evaluation.group_by, say).summary())


if __name__ == "__main__":
    run(main)
