"""Step time and memory with embedding tables of 1e5, 1e6 and 1e7 rows, in one process and split over two; or, with a
data set, what splitting does to the AUC.

python -m tests.benchmarks.embedding_scale [--quick] [--json FILE] [--rounds N]
python -m tests.benchmarks.embedding_scale --dataset kuairand --raw KuaiRand-Pure/data [--seeds N] [--sharding auto]
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from tests.benchmarks.embedding_scale.accuracy import OVERRIDES, accuracy
from tests.benchmarks.measure import Measured, measure
from tests.benchmarks.quality.data_set import SOURCES, prepared
from tests.benchmarks.results import Results, Verdict, machine, say, show_table, show_verdicts

NAME = "embedding_scale"
PACKAGES = ("mtl-ray", "torch", "numpy")
STEPS = f"tests.benchmarks.{NAME}.steps:steps"
RANKS = f"tests.benchmarks.{NAME}.ranks:ranks"
SPARSE, DENSE = "rowwise_adagrad", "dense"
REPLICATED, SHARDED = "replicated", "sharded"
GROWTH, HALF = 1.3, 0.55
Case = tuple[int, str]
"""(embedding rows, what the tables learn by in one process, or where their rows lie in two)."""
FIRST, LAST = (100_000, SPARSE), (10_000_000, SPARSE)
WHOLE, SPLIT = (10_000_000, REPLICATED), (10_000_000, SHARDED)
CASES: tuple[Case, ...] = (
    FIRST,
    (1_000_000, SPARSE),
    LAST,
    (100_000, DENSE),
    (1_000_000, DENSE),
    (100_000, REPLICATED),
    (100_000, SHARDED),
    WHOLE,
    SPLIT,
)
QUICK: tuple[Case, ...] = (FIRST, (1_000_000, SPARSE))


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Up to 1e6 rows, one round, no verdict.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures and verdicts there.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often every size has its turn.")] = 5,
    dataset: Annotated[str | None, typer.Option(help=f"AUC instead, on {' or '.join(SOURCES)}.")] = None,
    raw: Annotated[Path | None, typer.Option(help="Folder of the raw files (kuairand).")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="With which each placement is trained.")] = 1,
    sharding: Annotated[str, typer.Option(help="row_wise, table_wise or auto.")] = "row_wise",
    out: Annotated[Path | None, typer.Option(help="Keep data and trainings there and find them again.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="dotted.key=value over the data set's config; may be repeated.")
    ] = None,
) -> None:
    """Measure, print the table and the verdicts."""
    if dataset is None:
        _steps(quick, json, rounds)
        return
    if dataset not in SOURCES:
        raise typer.BadParameter(f"{dataset!r} is none of {', '.join(SOURCES)}", param_hint="--dataset")
    with ExitStack() as stack:
        folder = (out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{NAME}-")))).absolute()
        place = folder / (f"{dataset}_quick" if quick else dataset)
        data = prepared(dataset, place, raw, quick, [*OVERRIDES, *(override or [])])
        rows, verdicts = accuracy(data, place / "placements", seeds, sharding)
    show_table(
        f"AUC on {dataset}, two workers",
        ("of", "task", "AUC", "against", "AUC", "difference", "low", "high"),
        [
            [row["of"], row["task"], f"{row['value']:.5f}", row["against"], f"{row['reference']:.5f}"]
            + [f"{row[name]:+.5f}" for name in ("difference", "low", "high")]
            for row in rows
        ],
    )
    show_verdicts(verdicts)
    if json is not None:
        Results(name=f"{NAME}_{dataset}", machine=machine(PACKAGES), rows=tuple(rows), verdicts=tuple(verdicts)).write(
            json
        )


def _steps(quick: bool, json: Path | None, rounds: int) -> None:
    cases = QUICK if quick else CASES
    found: dict[Case, list[Measured]] = {case: [] for case in cases}
    for number in range(1 if quick else rounds):
        for case in cases if number % 2 == 0 else reversed(cases):
            found[case].append(_measured(case))
            say(f"· {case[0]:,} rows, {case[1]}: {_in_words(found[case][-1])}", markup=False)
    verdicts = (
        _verdict(f"step time at 1e7 rows over that at 1e5, {SPARSE}", GROWTH, "step_ms", found, FIRST, LAST),
        _verdict(
            "a process's memory for the sharded model over the replicated one's, 1e7 rows",
            HALF,
            "model_mb",
            found,
            WHOLE,
            SPLIT,
        ),
    )
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
        "batches of 4,096 a process",
        ("tables", "rows", "ms a step", "lowest", "highest", "a process, MB", "of it the model"),
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
    peaks = [run.figures.get("private_mb", run.peak_mb) for run in runs if run.error is None]
    models = [run.figures["model_mb"] for run in runs if "model_mb" in run.figures]
    figures = [f"{value:.1f}" for value in (median(taken), min(taken), max(taken))] if taken else ["", "", ""]
    memory = [f"{max(values):,.0f}" if values else "" for values in (peaks, models)]
    return [case[1] + (", 2 processes" if models else ""), f"{case[0]:,}", *figures, *memory]


def _measured(case: Case) -> Measured:
    rows, kind = case
    if kind in (REPLICATED, SHARDED):
        return measure(RANKS, {"rows": rows, "placement": kind})
    return measure(STEPS, {"rows": rows, "embeddings": kind})


def _verdict(
    line: str, goal: float, figure: str, found: dict[Case, list[Measured]], base: Case, other: Case
) -> Verdict:
    own, theirs = ([run.figures[figure] for run in found.get(case, []) if run.error is None] for case in (base, other))
    ratios = [large / small for small, large in zip(own, theirs, strict=False)]
    ratio = median(ratios) if ratios else None
    return Verdict(
        line=f"{line}, median of {len(ratios)} rounds",
        goal=f"<= {goal:g}",
        measured=None if ratio is None else f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        met=None if ratio is None else ratio <= goal,
    )


if __name__ == "__main__":
    typer.run(main)
