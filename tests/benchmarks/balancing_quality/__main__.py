"""What balancing tasks does to their quality, method by method.

python -m tests.benchmarks.balancing_quality --dataset kuairand --raw KuaiRand-Pure/data [--quick] [--json FILE]
python -m tests.benchmarks.balancing_quality --dataset ecommerce [--out FOLDER] [--only 'uncertainty,pcgrad on shared']

kuairand: each weighting, and each aggregation at the representation, in shared_bottom and in mmoe, against the equal
sum. ecommerce: two tasks with a planted conflict, against the equal sum and against each task alone; and the simulated
shop with one task's loss scaled by 1000, against the equal sum of unscaled losses. Every training has a process of its
own (one thread, unless OMP_NUM_THREADS says otherwise), and is kept in the out folder, so that an interrupted run goes
on.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from tests.benchmarks.balancing.methods import PLAIN, methods
from tests.benchmarks.balancing_quality.data_sets import (
    PLANTED_ROWS,
    QUICK_PLANTED_ROWS,
    TOGETHER,
    planted_sets,
    small_shop,
)
from tests.benchmarks.balancing_quality.rendering import as_json, header, lines, markdown
from tests.benchmarks.balancing_quality.tables import Plan, Table, kuairand_tables, planted_table, scaled_table
from tests.benchmarks.balancing_quality.verdicts import SEEDS, verdicts
from tests.benchmarks.quality.data_set import SOURCES, prepared
from tests.benchmarks.quality.trainings import Trainings
from tests.benchmarks.results import Results, machine, show_table, show_verdicts

NAME = "balancing_quality"
PACKAGES = ("mtl-ray", "torch", "feast", "numpy", "scipy")
QUICK = (PLAIN, "uncertainty", "pcgrad on representation")
QUICK_SEEDS = 2


def main(
    dataset: Annotated[str, typer.Option(help=f"{' or '.join(SOURCES)}.")],
    raw: Annotated[Path | None, typer.Option(help="Folder of the raw files (kuairand).")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Three methods, two seeds, one epoch; no verdicts.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures there, and the tables beside it as .md.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep data and trainings there and find them again.")] = None,
    only: Annotated[str | None, typer.Option(help="Methods, such as 'famo,pcgrad on shared'.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help=f"Of every training; {SEEDS}.")] = None,
    scaled: Annotated[str, typer.Option(help="Task whose loss is scaled (ecommerce).")] = "order_value",
    override: Annotated[
        list[str] | None, typer.Option("--set", help="dotted.key=value over the data set's config; may be repeated.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what is there already.")] = False,
) -> None:
    """Train, print the tables and what they say."""
    if dataset not in SOURCES:
        raise typer.BadParameter(f"{dataset!r} is none of {', '.join(SOURCES)}", param_hint="--dataset")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    names = _names(only, quick)
    known = methods()
    count = seeds or (QUICK_SEEDS if quick else SEEDS)
    overrides = [*(["training.epochs=1"] if quick else []), *(override or [])]
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{NAME}-")))
        trainings = Trainings(folder / "results_balancing", fresh)
        plan = Plan([known[name] for name in names], count, trainings)
        if dataset == "kuairand":
            data = prepared(dataset, folder / (f"{dataset}_quick" if quick else dataset), raw, quick, overrides)
            tables = kuairand_tables(plan, data)
        else:
            tables = _ecommerce_tables(plan, folder, quick, overrides, scaled)
    found = verdicts(tables, whole=not quick and only is None and count >= SEEDS)
    rows = tuple(as_json(table, row) for table in tables for row in table.rows)
    for table in tables:
        show_table(table.title, header(table), lines(table))
    show_verdicts(found)
    if json is not None:
        Results(name=f"{NAME}_{dataset}", machine=machine(PACKAGES), rows=rows, verdicts=found).write(json)
        json.with_suffix(".md").write_text(markdown(tables, found))


def _ecommerce_tables(plan: Plan, folder: Path, quick: bool, overrides: list[str], scaled: str) -> list[Table]:
    size = "quick" if quick else "small"
    sets = planted_sets(folder / f"planted_{size}", QUICK_PLANTED_ROWS if quick else PLANTED_ROWS)
    shop = small_shop(folder / f"shop_{size}", quick, overrides)
    if scaled not in shop.config["tasks"]:
        raise typer.BadParameter(f"{scaled!r} is none of {', '.join(shop.config['tasks'])}", param_hint="--scaled")
    return [planted_table(plan, sets, TOGETHER), scaled_table(plan, shop, scaled)]


def _names(only: str | None, quick: bool) -> list[str]:
    """Methods, the plain sum first and always."""
    known = methods()
    if only is None:
        return list(QUICK) if quick else list(known)
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(known)}", param_hint="--only")
    return [PLAIN, *(name for name in wanted if name != PLAIN)]


if __name__ == "__main__":
    typer.run(main)
