"""The table, for the terminal and as Markdown for the README."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.quality.figures import RANKING
from tests.benchmarks.quality.rows import Row
from tests.benchmarks.results import Verdict

_SHORT = {"roc_auc": "AUC", "gauc": "GAUC"}


def header(rows: Sequence[Row]) -> list[str]:
    """Column names."""
    tasks = _tasks(rows)
    ranking = [f"{task} {_SHORT[metric]}" for metric in RANKING for task, kind in tasks.items() if kind == "binary"]
    means = [f"mean {_SHORT[metric]}" for metric in RANKING]
    numbers = [f"{task} R²" for task, kind in tasks.items() if kind == "regression"]
    share = ["click of attainable"] if _simulated(rows) else []
    return ["side", "seeds", *means, *ranking, *numbers, *share, "seconds", "note"]


def lines(rows: Sequence[Row]) -> list[list[str]]:
    """One a side: ours, then peers; then what several trainings of a side predict together."""
    averaged = [row.averaged for row in rows if row.averaged is not None]
    return [_line(row, rows) for row in [*rows, *averaged]]


def markdown(rows: Sequence[Row], verdicts: Sequence[Verdict]) -> str:
    """Both tables."""
    names = header(rows)
    align = ["---" if name in ("side", "note") else "---:" for name in names]
    found = [_row(names), _row(align), *(_row(line) for line in lines(rows)), ""]
    found += [_row(["promised", "goal", "measured", "met"]), _row(["---"] * 4)]
    for verdict in verdicts:
        met = {True: "yes", False: "NO", None: "not measured"}[verdict.met]
        found.append(_row([verdict.line, verdict.goal, verdict.measured or "", met]))
    return "\n".join(found) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _line(row: Row, rows: Sequence[Row]) -> list[str]:
    names = header(rows)
    if row.error is not None:
        return [row.side, str(len(row.runs)), *[""] * (len(names) - 3), row.error]
    tasks = _tasks(rows)
    means = [f"{row.mean(metric):.4f}" for metric in RANKING]
    ranking = [_cell(row, task, metric) for metric in RANKING for task, kind in tasks.items() if kind == "binary"]
    numbers = [_cell(row, task, _fit_metric(row, task)) for task, kind in tasks.items() if kind == "regression"]
    share = [_number(row.share_of_attainable("click"), 3)] if _simulated(rows) else []
    seconds = _number(row.as_json()["seconds"] or None, 0)
    note = "; ".join(part for part in ("best two on validation" if row.chosen else "", row.note) if part)
    return [row.side, str(len(row.runs)), *means, *ranking, *numbers, *share, seconds, note]


def _cell(row: Row, task: str, metric: str) -> str:
    """Value, interval, and the spread over seeds: `.7556 [.749, .762] ±.0004`."""
    if task not in row.tasks or row.value(task, metric) is None:
        return ""
    low, high = row.value(task, metric, "low"), row.value(task, metric, "high")
    spread = row.spread(task, metric)
    interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return f"{row.value(task, metric):.4f}{interval}{'' if spread is None else f' ±{spread:.4f}'}"


def _fit_metric(row: Row, task: str) -> str:
    return "r2" if task not in row.tasks or row.value(task, "r2_log1p") is None else "r2_log1p"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _tasks(rows: Sequence[Row]) -> dict[str, str]:
    return next((row.tasks for row in rows if row.error is None), {})


def _simulated(rows: Sequence[Row]) -> bool:
    done = [row for row in rows if row.error is None and "click" in row.tasks]
    return any(row.share_of_attainable("click") is not None for row in done)
