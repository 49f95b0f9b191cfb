"""Our offline store, Feast's own and bare engines on one join of a spine with three feature views.

python -m tests.benchmarks.point_in_time_join [--quick] [--json FILE] [--rows 1e5,1e6] [--spines single,slate4]

Every run has a process of its own, and the sides take turns. Seconds: from opening the feature store (its registry
included; bare engines have none) to an Arrow table with all columns, after a join of 64 rows that pays for imports.
Peak memory: see `Measured.peak_mb`. Ratios are medians over the rounds. Feast's stores get the spine as a pandas
frame, which is read from Parquet in the timed part, because they take nothing else.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from tests.benchmarks.point_in_time_join.dataset import SLATES
from tests.benchmarks.point_in_time_join.measurements import Row, compare_sides, measure_memory
from tests.benchmarks.point_in_time_join.verdicts import verdicts
from tests.benchmarks.results import Results, machine, show_table, show_verdicts

NAME = "point_in_time_join"
PACKAGES = ("mtl-ray", "feast", "ray", "duckdb", "polars", "dask", "pandas", "pyarrow", "numpy")
RAY_STORE_ROWS = 1000
"""Feast's ray store took about an hour for 1e5 rows, so it is asked for as many only."""
HEADER = ("spine", "side", "rows", "seconds", "rows/s", "peak MB", "returned", "lost", "duplicated", "wrong", "note")


def main(
    quick: Annotated[bool, typer.Option("--quick", help="20,000 rows of slates of 4, one round.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures and verdicts there.")] = None,
    rows: Annotated[str | None, typer.Option(help="Sizes, such as 1e5,1e6.")] = None,
    spines: Annotated[str | None, typer.Option(help=f"Of {', '.join(SLATES)}.")] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Rounds; above 1e6 rows always one.")] = None,
    memory_rows: Annotated[str | None, typer.Option(help="Sizes of the memory line; '' leaves it out.")] = None,
    budget: Annotated[str, typer.Option(help="memory_budget of the memory line.")] = "1GB",
    data: Annotated[Path | None, typer.Option(help="Keep the data sets there and find them again.")] = None,
) -> None:
    """Measure, print the table and the verdicts."""
    sizes = _sizes(rows, [20_000] if quick else [100_000, 1_000_000, 5_000_000])
    memory_sizes = _sizes(memory_rows, [] if quick else [1_000_000, 2_000_000, 4_000_000])
    kinds = spines.split(",") if spines else ["slate4"] if quick else list(SLATES)
    unknown = [kind for kind in kinds if kind not in SLATES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(SLATES)}", param_hint="--spines")
    rounds = repeats or (1 if quick else 3)
    found: list[Row] = []
    with ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{NAME}-")))
        keep = data is not None
        if not quick and rows is None:
            found += compare_sides(folder, "slate4", RAY_STORE_ROWS, rounds, keep)
        for size in sizes:
            for kind in kinds:
                found += compare_sides(folder, kind, size, rounds if size <= 1_000_000 else 1, keep)
        found += measure_memory(folder, "slate4", memory_sizes, budget, 1, keep)
    results = Results(
        name=NAME,
        machine=machine(PACKAGES),
        rows=tuple(row.as_json() for row in found),
        verdicts=verdicts(found, kinds),
    )
    show_table("point-in-time join: spine with user, item and user-item views, 22 features", HEADER, _lines(found))
    show_verdicts(results.verdicts)
    if json is not None:
        results.write(json)


def _sizes(given: str | None, default: list[int]) -> list[int]:
    if given is None:
        return default
    try:
        sizes = [int(float(size)) for size in given.split(",") if size]
    except ValueError as error:
        raise typer.BadParameter(f"{given!r} is not a list of numbers such as 1e5,1e6") from error
    if any(size < 1 for size in sizes):
        raise typer.BadParameter(f"{given!r} has a size below one row")
    return sizes


def _lines(rows: list[Row]) -> list[list[str] | None]:
    lines: list[list[str] | None] = []
    before: tuple[str, int] | None = None
    for row in rows:
        if before is not None and before != (row.spine, row.rows):
            lines.append(None)
        before = (row.spine, row.rows)
        figures = row.as_json()
        if "error" in figures:
            lines.append([row.spine, row.side, f"{row.rows:,}", *[""] * 7, figures["error"]])
            continue
        counts = [f"{figures[name]:,}" for name in ("returned", "lost", "duplicated", "wrong")]
        speed = [f"{figures['seconds']:.2f}", f"{figures['rows_per_second']:,.0f}", f"{figures['peak_mb']:,.0f}"]
        budget = [f"budget {row.budget}"] if row.budget else []
        note = "; ".join([*budget, *_wrong_values(figures["wrong_values"])])
        lines.append([row.spine, row.side, f"{row.rows:,}", *speed, *counts, note])
    return lines


def _wrong_values(counts: dict[str, int]) -> list[str]:
    """The columns that are wrong most often."""
    most = sorted(counts.items(), key=lambda count: -count[1])[:2]
    rest = len(counts) - len(most)
    return [f"{name} {count:,}" for name, count in most] + ([f"{rest} more columns"] if rest else [])


if __name__ == "__main__":
    typer.run(main)
