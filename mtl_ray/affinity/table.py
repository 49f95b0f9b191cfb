"""Affinities and groupings as tables for the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from mtl_ray.affinity.result import TaskAffinity
from mtl_ray.affinity.wording import (
    VERDICTS,
    group_text,
    interval,
    method,
    scale,
    signed,
    verdict_sentence,
    wins_text,
)

WIDEST = 6
"""Tasks up to which the matrix fits 80 columns."""


def affinity_tables(found: TaskAffinity) -> Group:
    """The matrix, where it is not too wide, and the groupings."""
    groupings = _groupings(found)
    return Group(_matrix(found), "", groupings) if len(found.tasks) <= WIDEST else Group(groupings)


def _matrix(found: TaskAffinity) -> Table:
    table = _table("By how many % of its loss a step for the task of the row lowers the task of the column", None)
    table.add_column("step for", overflow="fold")
    for task in found.tasks:
        table.add_column(escape(task), justify="right", overflow="fold")
    largest = scale(found)
    for task, row in zip(found.tasks, found.affinity, strict=True):
        table.add_row(escape(task), *(signed(cell.value, largest) for cell in row))
    return table


def _groupings(found: TaskAffinity) -> Table:
    table = _table(escape(verdict_sentence(found)), method(found))
    table.add_column("groups", justify="right", no_wrap=True)
    table.add_column("best grouping", overflow="fold")
    for title in ("score %", "gain %", "wins"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    largest = scale(found)
    table.add_row("1", "all together", signed(found.together.value, largest), end_section=True)
    for grouping in found.groupings:
        gain = f"{signed(grouping.gain.value, largest)}\n{interval(grouping.gain, found)}"
        figures = (signed(grouping.score.value, largest), gain, wins_text(grouping))
        style = "bold" if grouping.verdict == "better" else None
        best = escape("\n".join(map(group_text, grouping.groups)))
        table.add_row(f"≤ {grouping.most}", best, *figures, VERDICTS[grouping.verdict], style=style)
        if grouping.runner_up is not None and grouping.runner_up_score is not None:
            second = escape("\n".join(map(group_text, grouping.runner_up)))
            table.add_row("then", second, signed(grouping.runner_up_score, largest), style="dim")
        table.add_section()
    return table


def _table(title: str, caption: str | None) -> Table:
    return Table(
        title=title,
        caption=caption,
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
