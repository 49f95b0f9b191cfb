"""What a search finds, what stopping saves, and what it costs beside the trainings themselves.

python -m tests.benchmarks.tuning --dataset ecommerce [--quick] [--json FILE] [--out FOLDER]
python -m tests.benchmarks.tuning --dataset kuairand --raw KuaiRand-Pure/data

ecommerce: jobs/configs/ecommerce_space.yaml and the batch size on a simulated shop, 24 trials with ASHA and the same
search without; they begin with the shop's tasks, an MMoE and the product's defaults for all else. kuairand: AUC of
click against AUC of like, multi-objective TPE and random search with the same number of trials, three seeds. Searches
are kept in the out folder and found again.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from tests.benchmarks.quality.data_set import SOURCES, prepared
from tests.benchmarks.results import Results, machine, show_table, show_verdicts
from tests.benchmarks.tuning.ecommerce import ecommerce, shop
from tests.benchmarks.tuning.front import SETTINGS, kuairand

NAME = "tuning"
PACKAGES = ("mtl-ray", "ray", "optuna", "torch", "numpy")


def main(
    dataset: Annotated[str, typer.Option(help=f"{' or '.join(SOURCES)}.")] = "ecommerce",
    raw: Annotated[Path | None, typer.Option(help="Folder of the raw files (kuairand).")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few trials on few rows; no verdicts.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures there.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep data and searches there and find them again.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="dotted.key=value over KuaiRand's config; may be repeated.")
    ] = None,
) -> None:
    """Search, print the tables and what they say."""
    if dataset not in SOURCES:
        raise typer.BadParameter(f"{dataset!r} is none of {', '.join(SOURCES)}", param_hint="--dataset")
    with ExitStack() as stack:
        folder = (out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{NAME}-")))).absolute()
        place = folder / (f"{dataset}_quick" if quick else dataset)
        if dataset == "ecommerce":
            header, rows, verdicts = ecommerce(shop(place, quick), place / "searches", quick)
        else:
            data = prepared(dataset, place, raw, quick, [*SETTINGS, *(override or [])])
            header, rows, verdicts = kuairand(data, place / "searches", quick)
        show_table(f"searches on {dataset}", header, [[str(row[name]) for name in header] for row in rows])
        show_verdicts(verdicts)
    if json is not None:
        Results(name=f"{NAME}_{dataset}", machine=machine(PACKAGES), rows=tuple(rows), verdicts=verdicts).write(json)


if __name__ == "__main__":
    typer.run(main)
