"""Step time and memory with embedding tables of 1e5, 1e6 and 1e7 rows.

python -m tests.benchmarks.embedding_scale [--quick] [--json FILE] [--rounds N]
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from tests.benchmarks.measure import Measured, measure
from tests.benchmarks.results import Results, Verdict, machine, say, show_table, show_verdicts

NAME = "embedding_scale"
PACKAGES = ("mtl-ray", "torch", "numpy")
STEPS = f"tests.benchmarks.{NAME}.steps:steps"
SPARSE, DENSE = "rowwise_adagrad", "dense"
GROWTH = 1.3
Case = tuple[int, str]
"""(embedding rows, what the tables learn by)."""
FIRST, LAST = (100_000, SPARSE), (10_000_000, SPARSE)
CASES: tuple[Case, ...] = (FIRST, (1_000_000, SPARSE), LAST, (100_000, DENSE), (1_000_000, DENSE))
QUICK: tuple[Case, ...] = (FIRST, (1_000_000, SPARSE))


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Up to 1e6 rows, one round, no verdict.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures and verdicts there.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often every size has its turn.")] = 5,
) -> None:
    """Measure, print the table and the verdicts."""
    cases = QUICK if quick else CASES
    found: dict[Case, list[Measured]] = {case: [] for case in cases}
    for number in range(1 if quick else rounds):
        for case in cases if number % 2 == 0 else reversed(cases):
            found[case].append(measure(STEPS, {"rows": case[0], "embeddings": case[1]}))
            say(f"· {case[0]:,} rows, {case[1]}: {_in_words(found[case][-1])}", markup=False)
    verdicts = (_growth(found),)
    results = Results(
        name=NAME,
        machine=machine(PACKAGES),
        rows=tuple(
            {"rows": rows, "embeddings": embeddings, "round": at, "peak_mb": run.peak_mb, "error": run.error}
            | run.figures
            for (rows, embeddings), runs in found.items()
            for at, run in enumerate(runs)
        ),
        verdicts=verdicts,
    )
    show_table(
        "one process, batches of 4,096",
        ("tables", "rows", "ms a step", "lowest", "highest", "peak, MB"),
        [_line(case, runs) for case, runs in found.items()],
    )
    show_verdicts(verdicts)
    if json is not None:
        results.write(json)


def _milliseconds(runs: list[Measured]) -> list[float]:
    return [float(run.figures["step_ms"]) for run in runs if run.error is None]


def _in_words(run: Measured) -> str:
    return run.error or f"{run.figures['step_ms']:.1f} ms a step, peak {run.peak_mb:,.0f} MB"


def _line(case: Case, runs: list[Measured]) -> list[str]:
    taken = _milliseconds(runs)
    peaks = [run.peak_mb for run in runs if run.peak_mb is not None]
    figures = [f"{value:.1f}" for value in (median(taken), min(taken), max(taken))] if taken else ["", "", ""]
    return [case[1], f"{case[0]:,}", *figures, f"{max(peaks):,.0f}" if peaks else ""]


def _growth(found: dict[Case, list[Measured]]) -> Verdict:
    small, large = _milliseconds(found[FIRST]), _milliseconds(found.get(LAST, []))
    ratios = [theirs / own for own, theirs in zip(small, large, strict=False)]
    ratio = median(ratios) if ratios else None
    return Verdict(
        line=f"step time at 1e7 rows over that at 1e5, {SPARSE}, median of {len(ratios)} rounds",
        goal=f"<= {GROWTH:g}",
        measured=None if ratio is None else f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        met=None if ratio is None else ratio <= GROWTH,
    )


if __name__ == "__main__":
    typer.run(main)
