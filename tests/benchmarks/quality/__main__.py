"""Our architectures, scikit-learn's gradient boosting and torch-rechub's models on one snapshot of one data set.

python -m tests.benchmarks.quality --dataset kuairand --raw KuaiRand-Pure/data [--quick] [--json FILE] [--out FOLDER]
python -m tests.benchmarks.quality --dataset ecommerce

Every training has a process of its own, and what it found is kept in the out folder, so that an interrupted run goes
on. Epochs, learning rates and our best two are chosen on the validation part; what is shown is of the test part, with
95 % bootstrap intervals over users (means over the seeds of both ends).
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from tests.benchmarks.quality.data_set import SOURCES, prepared
from tests.benchmarks.quality.sides import our_names, peer_names
from tests.benchmarks.quality.table import header, lines, markdown
from tests.benchmarks.quality.trainings import Trainings, train_ours, train_peers
from tests.benchmarks.quality.verdicts import SEEDS, ecommerce_verdicts, kuairand_verdicts
from tests.benchmarks.results import Results, machine, show_table, show_verdicts

NAME = "quality"
PACKAGES = ("mtl-ray", "torch", "scikit-learn", "torch-rechub", "feast", "ray", "numpy")
QUICK = {
    "kuairand": ("mmoe", "gradient_boosting", "torch_rechub_mmoe"),
    "ecommerce": ("shared_bottom", "mmoe"),
}


def main(
    dataset: Annotated[str, typer.Option(help=f"{' or '.join(SOURCES)}.")],
    raw: Annotated[Path | None, typer.Option(help="Folder of the raw files (kuairand).")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few sides, one epoch, one seed; no verdicts.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures and verdicts there.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep data and trainings there and find them again.")] = None,
    only: Annotated[str | None, typer.Option(help="Sides, such as mmoe,ple+din,gradient_boosting.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help=f"Of the best two and of torch-rechub; {SEEDS}.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="dotted.key=value over the data set's config; may be repeated.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what is there already.")] = False,
) -> None:
    """Train, print the table and the verdicts."""
    if dataset not in SOURCES:
        raise typer.BadParameter(f"{dataset!r} is none of {', '.join(SOURCES)}", param_hint="--dataset")
    wanted = _sides(dataset, only, quick)
    count = seeds or (1 if quick else SEEDS)
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    overrides = [*(["training.epochs=1"] if quick else []), *(override or [])]
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{NAME}-")))
        data = prepared(dataset, folder / (f"{dataset}_quick" if quick else dataset), raw, quick, overrides)
        trainings = Trainings(folder / "results", fresh)
        ours = [name for name in our_names(dataset) if name in wanted]
        rows = train_ours(dataset, data, ours, count if dataset == "kuairand" else 1, trainings)
        peers = [name for name in peer_names(dataset) if name in wanted]
        rows += train_peers(data, peers, count, quick, trainings)
    verdicts = kuairand_verdicts(rows, count, quick) if dataset == "kuairand" else ecommerce_verdicts(rows, quick)
    results = Results(
        name=f"{NAME}_{dataset}",
        machine=machine(PACKAGES),
        rows=tuple(row.as_json() for row in rows),
        verdicts=verdicts,
    )
    show_table(f"{dataset}: test part, mean over seeds", header(rows), lines(rows))
    show_verdicts(verdicts)
    if json is not None:
        results.write(json)
        json.with_suffix(".md").write_text(markdown(rows, verdicts))


def _sides(dataset: str, only: str | None, quick: bool) -> list[str]:
    known = [*our_names(dataset), *peer_names(dataset)]
    if only is None:
        return list(QUICK[dataset]) if quick else known
    wanted = [name for name in only.split(",") if name]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(known)}", param_hint="--only")
    return wanted


if __name__ == "__main__":
    typer.run(main)
