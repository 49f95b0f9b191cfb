"""A scaffold as tables for the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mtl_ray.scaffold.readme_file import column_rows
from mtl_ray.scaffold.scaffold import Scaffold


def scaffold_screen(written: Scaffold) -> Group:
    """Columns with what was pointed out, labels, decisions, and the commands that come next."""
    project = written.project
    columns = _table("column", "where", "as", "missing", "said")
    for row in column_rows(project):
        style = "yellow" if row[2] == "left out" else None
        columns.add_row(*map(Text, row), style=style)
    labels = _table("label", "type", "observed", "said")
    for label in project.labels:
        labels.add_row(*map(Text, (label.name, label.type, f"{label.observed:,}", "; ".join(label.notes))))
    notes = [Text(f"· {note}", style="dim") for note in project.notes]
    commands = [Text(f"  {command}", no_wrap=True, overflow="ignore") for command in written.commands]
    return Group(columns, Text(), labels, Text(), *notes, Text("next:", style="bold"), *commands)


def _table(*titles: str) -> Table:
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for title in titles:
        table.add_column(title, overflow="fold", justify="right" if title in ("missing", "observed") else "left")
    return table
