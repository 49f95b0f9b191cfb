"""A search, or a promotion, as a table for the terminal."""

from __future__ import annotations

from rich import box
from rich.markup import escape
from rich.table import Table

from mtl_ray.report.formatting import ABSENT, duration, plain
from mtl_ray.tuning.outcome import Outcome
from mtl_ray.tuning.promote import Promotion
from mtl_ray.tuning.resolve import in_short_words


def search_table(found: Outcome | Promotion) -> Table:
    """The front, the best of the first objective first; or the promoted trial's metrics on test."""
    if isinstance(found, Promotion):
        return _promotion(found)
    counts = found.summary()
    words = ", ".join(f"{counts[name]} {name}" for name in ("finished", "stopped", "failed", "lost") if counts[name])
    table = Table(
        title=f"{len(found.trials)} trials: {words}",
        caption=f"{counts['epochs']} epochs in {duration(found.wall_seconds)}, {found.concurrent} trials at a time",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
    )
    table.add_column("trial", justify="right")
    for target in found.targets:
        table.add_column(escape(target.removeprefix("validation/")), justify="right")
    table.add_column("values", overflow="fold")
    for number in found.front:
        trial = found.trial(number)
        table.add_row(str(number), *(plain(value) for value in trial.objective), escape(in_short_words(trial.values)))
    return table


def _promotion(found: Promotion) -> Table:
    table = Table(
        title=f"trial {found.trial}, trained on train and validation: {found.epochs} epochs",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
    )
    for name in ("task", "metric", "test"):
        table.add_column(name, justify="right" if name == "test" else "left")
    for task, metrics in found.tasks.items():
        for at, (name, value) in enumerate(metrics.items()):
            table.add_row(escape(task) if at == 0 else "", name, ABSENT if value is None else plain(value))
    return table
