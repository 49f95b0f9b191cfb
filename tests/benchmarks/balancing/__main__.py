"""What each way to balance tasks costs: seconds of a training step over those of the plain sum.

python -m tests.benchmarks.balancing [--quick] [--json FILE] [--tasks 3,8] [--workers 1,2] [--only pcgrad,famo]

MMoE (4 experts of [256, 128], towers of 64) over 20 categorical features and 13 numbers, 4,096 rows a worker, AdamW;
the real training step with clipping. Methods take turns in one process (or in several that train together), each with a
model of its own; ratios are to the plain sum, which has a turn before every third, and medians over the rounds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tests.benchmarks.balancing.methods import PLAIN, methods
from tests.benchmarks.balancing.timed_steps import seconds
from tests.benchmarks.balancing.verdicts import Row, rows_of, verdicts
from tests.benchmarks.results import Results, machine, say, show_table, show_verdicts

NAME = "balancing"
PACKAGES = ("mtl-ray", "torch", "torchjd", "cvxpy", "numpy")
HEADER = ("method", "kind", "tasks", "workers", "ms a step", "ratio", "lowest", "highest")


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Few methods, 3 tasks, one worker, one round.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures and verdicts there.")] = None,
    tasks: Annotated[str, typer.Option(help="Numbers of tasks.")] = "3,8",
    workers: Annotated[str, typer.Option(help="Numbers of workers.")] = "1,2",
    only: Annotated[str | None, typer.Option(help="Methods, such as 'famo,pcgrad on shared'.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="How often every method has its turn.")] = None,
) -> None:
    """Measure, print the table and the verdicts."""
    known = methods()
    wanted = ["uncertainty", "pcgrad on representation", "pcgrad on shared"] if quick else list(known)
    if only is not None:
        wanted = [name.strip() for name in only.split(",")]
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(known)}", param_hint="--only")
    names = [PLAIN, *(name for name in wanted if name != PLAIN)]
    kinds = {name: known[name].kind for name in names}
    found: list[Row] = []
    for num_tasks in [3] if quick else _numbers(tasks, "--tasks"):
        for num_workers in [1] if quick else _numbers(workers, "--workers"):
            say(f"· {num_tasks} tasks, {num_workers} workers: {len(names)} methods", markup=False)
            taken = seconds(num_tasks, num_workers, names, rounds or (1 if quick else 7))
            found += rows_of(num_tasks, num_workers, taken, kinds)
    lines = [[str(cell) for cell in _line(row)] for row in found]
    results = Results(
        name=NAME, machine=machine(PACKAGES), rows=tuple(row.as_json() for row in found), verdicts=verdicts(found)
    )
    show_table("step of each method over that of the plain sum", HEADER, lines)
    show_verdicts(results.verdicts)
    if json is not None:
        results.write(json)


def _line(row: Row) -> tuple[object, ...]:
    shown = row.as_json()
    ratios = (f"{row.ratio:.2f}", f"{min(row.ratios):.2f}", f"{max(row.ratios):.2f}")
    return (row.method, row.kind, row.tasks, row.workers, shown["milliseconds"], *ratios)


def _numbers(given: str, option: str) -> list[int]:
    try:
        numbers = [int(part) for part in given.split(",") if part]
    except ValueError as error:
        raise typer.BadParameter(f"{given!r} is not a list of whole numbers", param_hint=option) from error
    if not numbers or min(numbers) < 1:
        raise typer.BadParameter(f"{given!r} has no number above 0", param_hint=option)
    return numbers


if __name__ == "__main__":
    typer.run(main)
