"""A leak check as a table for the terminal."""

from __future__ import annotations

from rich import box
from rich.markup import escape
from rich.table import Table

from mtl_ray.leak_check.result import Inflation, LeakCheck
from mtl_ray.leak_check.wording import auc, interval, method, share, signed, verdict_sentence

_STYLE = {"leak": "bold red", "lower": "yellow", "not defined": "yellow"}


def leak_table(check: LeakCheck) -> Table:
    """A line for each view and task: the AUC by keys alone, and how much of it the leak would have faked.

    For 80 columns.
    """
    table = Table(
        title=escape(verdict_sentence(check)),
        caption=method(check),
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("by keys alone", overflow="fold")
    table.add_column("changed", justify="right", no_wrap=True)
    table.add_column("task", overflow="fold")
    for title in ("AUC", "faked", "interval"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for view in check.views:
        _add(table, view.view, share(view.changed), view.tasks)
    _add(table, "all views", "", check.together)
    return table


def _add(table: Table, name: str, changed: str, tasks: dict[str, Inflation]) -> None:
    for position, (task, item) in enumerate(tasks.items()):
        first = (escape(name), changed) if position == 0 else ("", "")
        figures = (auc(item.naive), signed(item.inflation), interval(item))
        style = _STYLE.get(item.verdict)
        table.add_row(*first, escape(task), *figures, item.verdict, style=style, end_section=position == len(tasks) - 1)
