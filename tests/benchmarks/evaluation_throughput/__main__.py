"""Rows a second of exact metrics over two processes, against the model's predictions alone.

python -m tests.benchmarks.evaluation_throughput [--quick] [--json FILE] [--out FOLDER] [--rounds N]
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from tests.benchmarks.evaluation_throughput.passes import PASSES, Turn, rows_a_second
from tests.benchmarks.measure import measure
from tests.benchmarks.results import Results, Verdict, machine, say, show_table, show_verdicts

NAME = "evaluation_throughput"
PACKAGES = ("mtl-ray", "torch", "numpy")
PREPARATION = "tests.benchmarks.train_throughput.workload:preparation"
WORKERS = (1, 2)
GOAL = 0.5


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Few rows, one round.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures and verdicts there.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the snapshot there and find it again.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often every pass has its turn.")] = 5,
    rows: Annotated[int, typer.Option(min=1, help="Of the spine.")] = 500_000,
) -> None:
    """Measure, print the table and the verdicts."""
    if quick:
        rounds, rows = 1, 50_000
    with ExitStack() as stack:
        folder = (out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{NAME}-")))).absolute()
        prepared = measure(PREPARATION, {"folder": str(folder), "rows": rows})
        if prepared.error is not None:
            raise RuntimeError(f"the training set could not be built: {prepared.error}")
        found = {}
        for workers in WORKERS:
            found[workers] = rows_a_second(str(folder), prepared.figures["snapshot"], workers, rounds)
            say(f"· {workers} workers: {rounds} rounds", markup=False)
    verdicts = [
        _verdict(workers, name, turns) for workers, turns in found.items() for name in PASSES if name != "predictions"
    ]
    results = Results(
        name=NAME,
        machine=machine(PACKAGES),
        rows=tuple(
            {"workers": workers, "round": at, **turn}
            for workers, turns in found.items()
            for at, turn in enumerate(turns)
        ),
        verdicts=tuple(verdicts),
    )
    table = [
        [str(workers), name, *(f"{figure:,.0f}" for figure in (median(values), min(values), max(values)))]
        for workers, turns in found.items()
        for name in PASSES
        for values in [[turn[name] for turn in turns]]
    ]
    show_table("one thread a worker", ("workers", "pass", "rows/s", "lowest", "highest"), table)
    show_verdicts(verdicts)
    if json is not None:
        results.write(json)


def _verdict(workers: int, name: str, turns: list[Turn]) -> Verdict:
    ratios = [turn[name] / turn["predictions"] for turn in turns]
    return Verdict(
        line=f"{name}, {workers} workers, over predictions alone, median of {len(ratios)} rounds",
        goal=f">= {GOAL:g}",
        measured=f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        met=median(ratios) >= GOAL,
    )


if __name__ == "__main__":
    typer.run(main)
