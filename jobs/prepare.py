"""Turn raw event logs into feature tables and a spine that Feast and the training set builder read.

python jobs/prepare.py --dataset ecommerce --out data/ecommerce
python jobs/prepare.py --dataset kuairand --raw KuaiRand-Pure/data --out data/kuairand
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl_ray.command_line import emit, run, say
from mtl_ray.datasets import prepare


def main(
    dataset: Annotated[str, typer.Option(help="ecommerce (simulated, no download) or kuairand.")],
    out: Annotated[Path, typer.Option(help="Folder to write; replaced when it exists.")],
    raw: Annotated[Path | None, typer.Option(help="Folder of the raw logs, where the data set has any.")] = None,
) -> None:
    """Prepare a data set."""
    say(f"preparing {dataset} in {out}")
    emit(prepare(dataset, out, raw))


if __name__ == "__main__":
    run(main)
