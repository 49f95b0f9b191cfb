"""A comparison as a table for the terminal."""

from __future__ import annotations

from rich import box
from rich.markup import escape
from rich.table import Table

from mtl_ray.comparison.result import Comparison
from mtl_ray.comparison.wording import lines, method, verdict_sentence

_STYLE = {"harmed": "bold red", "worse": "yellow", "helped": "green", "better": "green"}


def comparison_table(comparison: Comparison) -> Table:
    """For every task and metric a line for each training: its value, then the differences with their intervals."""
    table = Table(
        title=escape(verdict_sentence(comparison)),
        caption=escape("\n".join([method(comparison), *_failures(comparison)])),
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("task", overflow="fold")
    table.add_column("metric", no_wrap=True)
    table.add_column("trained", overflow="fold")
    for title in ("value", "difference", "interval"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    before = None
    for task, metric, found in lines(comparison):
        for position, line in enumerate(found):
            trained = f"{line.training} − {line.against}" if line.against else line.training
            table.add_row(
                escape(task) if position == 0 and task != before else "",
                metric if position == 0 else "",
                escape(trained),
                line.value,
                line.difference,
                line.interval,
                line.verdict,
                style=_STYLE.get(line.verdict),
                end_section=position == len(found) - 1,
            )
        before = task
    return table


def _failures(comparison: Comparison) -> list[str]:
    return [f"{training.name} failed: {training.error}" for training in comparison.failed]
