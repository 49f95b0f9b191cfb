"""Samples a second with one and two workers of one thread each, and a worker's memory on small and large training sets.

On a machine of two cores one worker leaves a core to Ray's own processes, and two leave none; one worker is measured
with that core and without it. Beside it the loop by hand in one process, in two that exchange nothing and in two that
train together: what is lost to the machine, whose cores share memory and more, is lost to everybody.

python -m tests.benchmarks.scaling [--quick] [--json FILE] [--out FOLDER] [--rounds N]
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import typer

from tests.benchmarks.measure import Measured, measure
from tests.benchmarks.results import Results, Verdict, machine, say, show_table, show_verdicts
from tests.benchmarks.scaling.cores import HOWS, How, rate
from tests.benchmarks.train_throughput.rates import over_all_epochs

NAME = "scaling"
PACKAGES = ("mtl-ray", "torch", "ray", "numpy")
JOB = "tests.benchmarks.scaling.confined:job"
PREPARATION = "tests.benchmarks.train_throughput.workload:preparation"
EFFICIENCY, MEMORY = 0.9, 1.1
EPOCHS, TIMES = 2, 4
MANY, FEW = 1_000_000, 1_000


class Case(NamedTuple):
    """One training."""

    workers: int
    times: int
    """The rows, in multiples of the smaller set's."""
    ids: int
    """At most so many of a feature. Few of them are all there in both sets, so that the tables are alike."""
    cores: int | None = None
    """Of the whole job: workers, driver and Ray's own processes. None: all that there are."""


ONE, ONE_ON_ITS_CORE, TWO = Case(1, 1, MANY), Case(1, 1, MANY, cores=1), Case(2, 1, MANY)
SMALL, LARGE = Case(2, 1, FEW), Case(2, TIMES, FEW)
CASES = (ONE, ONE_ON_ITS_CORE, TWO, SMALL, LARGE)


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Few rows, one round.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures and verdicts there.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the snapshots there and find them again.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often every case has its turn.")] = 3,
    rows: Annotated[int, typer.Option(min=1, help="Of the smaller spine.")] = 500_000,
) -> None:
    """Measure, print the table and the verdicts."""
    if quick:
        rounds, rows = 1, 50_000
    found: dict[Case, list[Measured]] = {case: [] for case in CASES}
    by_hand: dict[How, list[float]] = {how: [] for how in HOWS}
    with ExitStack() as stack:
        root = (out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{NAME}-")))).absolute()
        folders = {case: root / f"{rows * case.times}-{case.ids}" for case in found}
        of_folder = {folders[case]: case for case in found}
        built = {folder: _snapshot(folder, rows * case.times, case.ids) for folder, case in of_folder.items()}
        snapshots = {case: built[folder] for case, folder in folders.items()}
        for number in range(rounds):
            for case in found if number % 2 == 0 else reversed(found):
                arguments = {
                    "folder": str(folders[case]),
                    "snapshot": snapshots[case],
                    "workers": case.workers,
                    "cores": case.cores,
                    "epochs": EPOCHS,
                    "options": {},
                }
                found[case].append(measure(JOB, arguments))
                say(f"· {case}: {_in_words(found[case][-1])}", markup=False)
            loop = {"folder": str(folders[ONE]), "snapshot": snapshots[ONE], "epochs": EPOCHS, "options": {}}
            for how in HOWS if number % 2 == 0 else reversed(HOWS):
                by_hand[how].append(rate(how, loop))
                say(f"· by hand, {how}: {by_hand[how][-1]:,.0f} samples/s", markup=False)
    verdicts = (
        _verdict("samples/s of 2 workers over twice those of 1", EFFICIENCY, _rates(found[ONE]), _rates(found[TWO]), 2),
        _verdict(
            "the same, all that belongs to the 1 worker on one core",
            EFFICIENCY,
            _rates(found[ONE_ON_ITS_CORE]),
            _rates(found[TWO]),
            2,
        ),
        _verdict(
            f"a worker's peak memory on {TIMES} times the rows", -MEMORY, _memory(found[SMALL]), _memory(found[LARGE])
        ),
        _verdict("two loops by hand that exchange nothing over twice one", None, by_hand["alone"], by_hand["apart"], 2),
        _verdict("the loop by hand in 2 processes over twice 1", None, by_hand["alone"], by_hand["together"], 2),
    )
    results = Results(
        name=NAME,
        machine=machine(PACKAGES),
        rows=tuple(
            {**case._asdict(), "rows": rows * case.times, "round": at, "error": run.error, **run.figures}
            for case, runs in found.items()
            for at, run in enumerate(runs)
        )
        + tuple({"by_hand": how, "rates": rates} for how, rates in by_hand.items()),
        verdicts=verdicts,
    )
    show_table(
        "one thread a worker",
        ("workers", "cores", "rows", "ids, at most", "rounds", "samples/s", "lowest", "highest", "a worker's peak, MB"),
        [_line(case, rows * case.times, runs) for case, runs in found.items()],
    )
    show_verdicts(verdicts)
    if json is not None:
        results.write(json)


def _snapshot(folder: Path, rows: int, ids: int) -> str:
    found = measure(PREPARATION, {"folder": str(folder), "rows": rows, "ids": ids})
    if found.error is not None:
        raise RuntimeError(f"the training set could not be built: {found.error}")
    say(f"· {found.figures['rows']} rows, {found.figures['embedding_rows']:,} embedding rows", markup=False)
    return str(found.figures["snapshot"])


def _rates(runs: list[Measured]) -> list[float]:
    return [rate for rate in map(over_all_epochs, runs) if rate is not None]


def _memory(runs: list[Measured]) -> list[float]:
    return [float(run.figures["worker_mb"]) for run in runs if run.error is None]


def _in_words(run: Measured) -> str:
    if run.error is not None:
        return run.error
    rates = ", ".join(f"{rate:,.0f}" for rate in run.figures["samples_per_second"])
    return f"{rates} samples/s, a worker's peak {run.figures['worker_mb']:,.0f} MB"


def _line(case: Case, rows: int, runs: list[Measured]) -> list[str]:
    rates, memory = _rates(runs), _memory(runs)
    figures: list[Any] = [median(rates), min(rates), max(rates), max(memory)] if rates else []
    return [
        str(case.workers),
        str(case.cores or "all"),
        f"{rows:,}",
        f"{case.ids:,}",
        str(len(rates)),
        *(f"{value:,.0f}" for value in figures),
    ]


def _verdict(line: str, goal: float | None, base: list[float], other: list[float], times: float = 1.0) -> Verdict:
    """`goal`: what the ratio of `other` to `times` the `base` is to reach; negative: not to exceed; None: nothing is
    promised."""
    ratios = [theirs / own / times for own, theirs in zip(base, other, strict=False)]
    ratio = median(ratios) if ratios else None
    if goal is None:
        words, met = "", None
    else:
        words = f">= {goal:g}" if goal > 0 else f"<= {-goal:g}"
        met = None if ratio is None else (ratio >= goal if goal > 0 else ratio <= -goal)
    return Verdict(
        line=f"{line}, median of {len(ratios)} rounds",
        goal=words,
        measured=None if ratio is None else f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        met=met,
    )


if __name__ == "__main__":
    typer.run(main)
