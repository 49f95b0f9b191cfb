"""Samples a second of a whole training against a loop by hand and against the peers' own trainers.

python -m tests.benchmarks.train_throughput [--quick] [--json FILE] [--out FOLDER] [--rounds N] [--workers N]
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from tests.benchmarks.measure import Measured, measure
from tests.benchmarks.results import Results, Verdict, machine, say, show_table, show_verdicts
from tests.benchmarks.train_throughput.rates import over_all_epochs

NAME = "train_throughput"
PACKAGES = ("mtl-ray", "torch", "ray", "torch-rechub", "deepctr-torch", "numpy")
HERE = f"tests.benchmarks.{NAME}"
PER_WORKER, EPOCHS = 4096, 2
OVER_BARE, OVER_PEERS = 0.9, 3.0
BARE, BARE_WITH_OURS = "by hand", "by hand, our exchange of rows"
PEERS = ("rechub", "rechub_in_memory", "deepctr")


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Few rows, one round.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures and verdicts there.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the snapshot there and find it again.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often every side has its turn.")] = 3,
    rows: Annotated[int, typer.Option(min=1, help="Of the spine.")] = 2_000_000,
    peer_rows: Annotated[
        int, typer.Option(min=1, help="That a peer trains on; a rate is all that is taken.")
    ] = 200_000,
    precision: Annotated[str, typer.Option(help="fp32 or bf16, of ours and the loop by hand.")] = "fp32",
    workers: Annotated[int, typer.Option(min=1, help="Of ours, and processes of the loop by hand.")] = 2,
) -> None:
    """Measure, print the table and the verdicts."""
    if quick:
        rounds, rows, peer_rows = 1, 200_000, 40_000
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{NAME}-")))
        prepared = _done(measure(f"{HERE}.workload:preparation", {"folder": str(folder.absolute()), "rows": rows}))
        say(f"· {prepared.figures['rows']} rows, {prepared.figures['embedding_rows']:,} embedding rows", markup=False)
        snapshot = prepared.figures["snapshot"]
        training = {
            "folder": str(folder.absolute()),
            "snapshot": snapshot,
            "workers": workers,
            "epochs": EPOCHS,
            "options": {"per_worker": PER_WORKER, "precision": precision},
        }
        peer = {"snapshot": snapshot, "rows": peer_rows, "batch_size": PER_WORKER * workers}
        sides = {
            "ours": (f"{HERE}.ours:job", training),
            BARE: (f"{HERE}.bare:loop", training),
            BARE_WITH_OURS: (f"{HERE}.bare:loop", {**training, "our_exchange": True}),
            **{name: (f"{HERE}.peers:{name}", peer) for name in PEERS},
        }
        found: dict[str, list[Measured]] = {name: [] for name in sides}
        for number in range(rounds):
            for name in sides if number % 2 == 0 else reversed(sides):
                found[name].append(measure(*sides[name]))
                say(f"· {name}: {_in_words(found[name][-1])}", markup=False)
    verdicts = _verdicts(found)
    table = [_line(name, runs) for name, runs in found.items()]
    results = Results(
        name=NAME,
        machine=machine(PACKAGES),
        rows=tuple(
            {"side": name, "round": at, "seconds": run.seconds, "error": run.error, **run.figures}
            for name, runs in found.items()
            for at, run in enumerate(runs)
        ),
        verdicts=verdicts,
    )
    show_table(
        f"{workers} workers, {PER_WORKER} rows each, {precision}",
        ("side", "rounds", "samples/s", "lowest", "highest", "start, s"),
        table,
    )
    show_verdicts(verdicts)
    if json is not None:
        results.write(json)


def _done(found: Measured) -> Measured:
    if found.error is not None:
        raise RuntimeError(f"the training set could not be built: {found.error}")
    return found


def _rates(runs: list[Measured]) -> list[float]:
    return [rate for rate in map(over_all_epochs, runs) if rate is not None]


def _in_words(run: Measured) -> str:
    if run.error is not None:
        return run.error
    rates = ", ".join(f"{rate:,.0f}" for rate in run.figures["samples_per_second"])
    start = run.figures.get("start_seconds")
    return f"{rates} samples/s" + ("" if start is None else f", start {start:.0f} s")


def _line(name: str, runs: list[Measured]) -> list[str]:
    rates = _rates(runs)
    starts = [run.figures["start_seconds"] for run in runs if "start_seconds" in run.figures]
    figures = [f"{median(rates):,.0f}", f"{min(rates):,.0f}", f"{max(rates):,.0f}"] if rates else ["", "", ""]
    return [name, str(len(rates)), *figures, f"{median(starts):.0f}" if starts else ""]


def _verdicts(found: dict[str, list[Measured]]) -> tuple[Verdict, ...]:
    goals = {BARE: OVER_BARE, BARE_WITH_OURS: OVER_BARE, **dict.fromkeys(PEERS, OVER_PEERS)}
    verdicts: list[Verdict] = []
    for name, goal in goals.items():
        pairs: list[Any] = [
            (own, other)
            for own, other in zip(map(over_all_epochs, found["ours"]), map(over_all_epochs, found[name]), strict=True)
        ]
        ratios = [own / other for own, other in pairs if own is not None and other is not None]
        ratio = median(ratios) if ratios else None
        verdicts.append(
            Verdict(
                line=f"samples/s of ours over {name}, median of {len(ratios)} rounds",
                goal=f">= {goal:g}",
                measured=None if ratio is None else f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                met=None if ratio is None else ratio >= goal,
            )
        )
    return tuple(verdicts)


if __name__ == "__main__":
    typer.run(main)
