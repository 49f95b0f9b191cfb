"""What sparse row-wise Adagrad, which large tables have by default, does to the AUC against dense Adam in fp32.

python -m tests.benchmarks.fast_defaults --dataset kuairand --raw KuaiRand-Pure/data [--quick] [--json FILE]
python -m tests.benchmarks.fast_defaults --dataset ecommerce [--out FOLDER]

The data set's own config with either optimizer of the embedding tables and no decay of theirs; five seeds, differences
with paired 95 % intervals over seeds and users. The tables of these data sets are small enough that `embeddings: auto`
leaves them dense: here the large ones' optimizer is asked for by name. Beside them stands the config as it is. Every
training has a process of its own, and is kept in the out folder, so that an interrupted run goes on.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from tests.benchmarks.balancing_quality.differences import Difference
from tests.benchmarks.balancing_quality.rows import Row
from tests.benchmarks.quality.data_set import SOURCES, Prepared, prepared
from tests.benchmarks.quality.sides import Side
from tests.benchmarks.quality.trainings import Trainings
from tests.benchmarks.results import Results, Verdict, machine, show_table, show_verdicts

NAME = "fast_defaults"
PACKAGES = ("mtl-ray", "torch", "feast", "numpy", "scipy")
SEEDS, QUICK_SEEDS = 5, 2
FAST, DENSE, AS_IT_IS = "rowwise_adagrad", "dense", "the config as it is"


def main(
    dataset: Annotated[str, typer.Option(help=f"{' or '.join(SOURCES)}.")],
    raw: Annotated[Path | None, typer.Option(help="Folder of the raw files (kuairand).")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Two seeds, one epoch, few rows; no verdicts.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures and verdicts there.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep data and trainings there and find them again.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="dotted.key=value over the data set's config; may be repeated.")
    ] = None,
) -> None:
    """Train, print the table and the verdicts."""
    if dataset not in SOURCES:
        raise typer.BadParameter(f"{dataset!r} is none of {', '.join(SOURCES)}", param_hint="--dataset")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    overrides = [*(["training.epochs=1"] if quick else []), *(override or [])]
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{NAME}-")))
        data = prepared(dataset, folder / (f"{dataset}_quick" if quick else dataset), raw, quick, overrides)
        trainings = Trainings(folder / "results_fast_defaults")
        tasks = [task for task, settings in data.config["tasks"].items() if settings["type"] == "binary"]
        runs: dict[str, dict[int, Any]] = {name: {} for name in (FAST, DENSE, AS_IT_IS)}
        # Seed by seed, so that what an interrupted run leaves is of every side.
        for seed in range(QUICK_SEEDS if quick else SEEDS):
            for name, of_side in runs.items():
                of_side[seed] = trainings.run(_side(data, name), seed)
    rows = {name: Row(name, "embeddings", of_side) for name, of_side in runs.items()}
    failed = [f"{name}: {row.error}" for name, row in rows.items() if row.error is not None]
    if failed:
        raise RuntimeError("; ".join(failed))
    lines = [_line(row, rows[DENSE], tasks) for row in rows.values()]
    header = ("tables learn by", "seeds", *(f"AUC {task}" for task in tasks), "mean", "mean, over dense")
    verdicts = () if quick else _verdicts(rows, tasks)
    show_table(f"{dataset}: test part", header, lines)
    show_verdicts(verdicts)
    if json is not None:
        table = tuple(dict(zip(header, line, strict=True)) for line in lines)
        Results(name=f"{NAME}_{dataset}", machine=machine(PACKAGES), rows=table, verdicts=verdicts).write(json)


def _side(data: Prepared, name: str) -> Side:
    config = data.config
    if name != AS_IT_IS:
        optimizer = {
            **config["training"]["optimizer"],
            "embeddings": {"name": name},
            "embedding_weight_decay": 0.0,
            "embedding_learning_rate": None,
        }
        config = {**config, "training": {**config["training"], "optimizer": optimizer, "precision": "fp32"}}
    arguments = {"snapshot": data.snapshot, "config": config, "scaled": {}}
    return Side(name.replace(" ", "_"), "tests.benchmarks.balancing_quality.training:training", arguments)


def _line(row: Row, dense: Row, tasks: list[str]) -> list[str]:
    over = "" if row is dense else in_words(row.less(dense, tasks))
    aucs = [f"{row.auc([task]):.4f}" for task in tasks]
    return [row.method, str(len(row.runs)), *aucs, f"{row.auc(tasks):.4f}", over]


def in_words(found: Difference) -> str:
    """`+0.0012 [-0.0003, +0.0027]`."""
    if found.low is None or found.high is None:
        return f"{found.value:+.4f}"
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def _verdicts(rows: dict[str, Row], tasks: list[str]) -> tuple[Verdict, ...]:
    return tuple(
        Verdict(
            line=f"AUC of {of[0] if len(of) == 1 else 'all binary tasks, mean'}: {FAST} less {DENSE}",
            goal="the 95 % interval of five seeds is not below 0",
            measured=in_words(found),
            met=found.sign >= 0,
        )
        for of in (tasks, *([task] for task in tasks))
        for found in [rows[FAST].less(rows[DENSE], of)]
    )


if __name__ == "__main__":
    typer.run(main)
