"""The tables for the terminal, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from tests.benchmarks.balancing_quality.differences import Difference
from tests.benchmarks.balancing_quality.rows import Row
from tests.benchmarks.balancing_quality.tables import Table
from tests.benchmarks.results import Verdict

HARMED, HELPED = "▼", "▲"
NOTES = (
    f"Means over the seeds; in brackets the 95 % interval of the difference, paired by seed and by resamples of the "
    f"test part's users (of its rows, where there are no users): the users' variance by bootstrap, the seeds' by "
    f"Student's t. {HARMED}: the task is worse, the whole interval says so; {HELPED}: it is better. One of twenty "
    f"intervals leaves out 0 by chance. Task weights are all 1; the best epoch is that of the lowest sum of validation "
    f"losses. Seconds are the processor's for one training, median over the seeds."
)


def header(table: Table) -> list[str]:
    """Column names."""
    columns = [name for column in table.columns for name in (f"{column} AUC", *_compared(table, column))]
    return ["method", "seeds", *columns, "CPU seconds", "note"]


def lines(table: Table) -> list[list[str]]:
    """One a row."""
    return [_line(table, row) for row in table.rows]


def markdown(tables: Sequence[Table], verdicts: Sequence[Verdict]) -> str:
    """Every table with its title, and the verdicts."""
    found = [NOTES, ""]
    for table in tables:
        names = header(table)
        align = ["---" if name in ("method", "note") else "---:" for name in names]
        found += [f"### {table.title}", "", _piped(names), _piped(align), *(_piped(line) for line in lines(table)), ""]
    found += [_piped(["promised", "goal", "measured", "met"]), _piped(["---"] * 4)]
    for verdict in verdicts:
        met = {True: "yes", False: "NO", None: "not measured"}[verdict.met]
        found.append(_piped([verdict.line, verdict.goal, verdict.measured or "", met]))
    return "\n".join(found) + "\n"


def as_json(table: Table, row: Row) -> dict[str, Any]:
    """For the document."""
    found: dict[str, Any] = {"table": table.name, "method": row.method, "kind": row.kind, "seeds": len(row.runs)}
    if row.error is not None:
        return {**found, "error": row.error}
    figures = [run.figures for run in row.runs.values()]
    return {
        **found,
        "cpu_seconds": row.seconds,
        "best_epochs": [one.get("best_epoch") for one in figures],
        "threads": figures[0].get("threads"),
        "columns": {
            column: {
                "roc_auc": row.auc(tasks),
                "less": {
                    name: {"value": gap.value, "low": gap.low, "high": gap.high, "sign": gap.sign}
                    for name in table.against
                    if (gap := compared(table, row, name, column)) is not None
                },
            }
            for column, tasks in table.columns.items()
        },
        "every_metric": {task: _means([one["test"][task] for one in figures]) for task in figures[0]["test"]},
    }


def compared(table: Table, row: Row, name: str, column: str) -> Difference | None:
    """`row` less the row called `name` in a column; None where it is that row, or one of both failed."""
    other = table.row(name)
    return None if other is None or other is row or row.error is not None else row.less(other, table.columns[column])


def _means(tasks: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for metric in (name for name, value in tasks[0].items() if isinstance(value, dict)):
        values = [task[metric]["value"] for task in tasks]
        found[metric] = None if any(value is None for value in values) else fmean(values)
    return found


def _compared(table: Table, column: str) -> list[str]:
    return [f"{column} harm" if table.harm else f"{column} − {name}" for name in table.against]


def _line(table: Table, row: Row) -> list[str]:
    if row.error is not None:
        return [row.method, str(len(row.runs)), *[""] * (len(header(table)) - 3), row.error]
    cells = []
    for column, tasks in table.columns.items():
        gaps = [compared(table, row, name, column) for name in table.against]
        cells += [f"{row.auc(tasks):.4f}", *(_cell(gap, table.harm) for gap in gaps)]
    return [row.method, str(len(row.runs)), *cells, f"{row.seconds:.1f}", ""]


def _cell(gap: Difference | None, harm: bool) -> str:
    """`−0.0012 [−0.0020, −0.0004] ▼`."""
    if gap is None:
        return ""
    shown = gap.turned() if harm else gap
    interval = "" if shown.low is None or shown.high is None else f" [{_signed(shown.low)}, {_signed(shown.high)}]"
    mark = {-1: f" {HARMED}", 0: "", 1: f" {HELPED}"}[gap.sign]
    return f"{_signed(shown.value)}{interval}{mark}"


def _signed(value: float) -> str:
    return f"{value + 0.0:+.4f}".replace("-", "−")


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
