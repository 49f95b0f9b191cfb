"""What the report says about the balance between tasks: weights, losses side by side, and gradients compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtl_ray.report.charts import training
from mtl_ray.report.charts.figure import LineStyle
from mtl_ray.report.charts.training import Series
from mtl_ray.report.formatting import ABSENT, count, decimal, percent, plain
from mtl_ray.report.header import Fact, node
from mtl_ray.report.heat import HeatTable, cosine_cell
from mtl_ray.report.history import History
from mtl_ray.report.task_diagrams import Chart

PREFIX = "train/balance/"


@dataclass(frozen=True)
class BalanceRow:
    """One task."""

    task: str
    first: str
    """Weight in the first line of the log."""
    last: str
    factor: str
    """Mean of what the aggregation multiplied the task's gradient by."""
    skipped: str
    """Steps left out because its loss or gradient was not finite."""


@dataclass(frozen=True)
class BalanceContent:
    """The section on the balance between tasks."""

    facts: tuple[Fact, ...]
    key: tuple[tuple[str, LineStyle], ...]
    """What the lines of the charts stand for."""
    charts: tuple[Chart, ...]
    cosines: HeatTable | None
    rows: tuple[BalanceRow, ...]
    factors: bool
    """Whether any task has a factor."""
    skipped: bool
    """Whether any step was left out."""


def balance_content(config: Mapping[str, Any], history: History) -> BalanceContent | None:
    """The section, or None for a run whose weights stayed the same and whose gradients were not compared."""
    tasks = [str(task) for task in node(config, "tasks")]
    weights = {task: history.by_step(f"train/{task}/weight") for task in tasks}
    factors = {task: _mean(history.by_step(f"{PREFIX}{task}/factor")) for task in tasks}
    skipped = {task: history.counted(f"{PREFIX}{task}/skipped") for task in tasks}
    cosines = _cosines(tasks, history)
    moved = any(len(set(values)) > 1 for _, values in weights.values())
    compared = cosines is not None or any(factor is not None for factor in factors.values())
    if not (moved or compared or any(skipped.values())):
        return None
    return BalanceContent(
        facts=_facts(config, history),
        key=tuple((task, LineStyle.of(at)) for at, task in enumerate(tasks)),
        charts=_charts(tasks, weights, history),
        cosines=cosines,
        rows=tuple(
            BalanceRow(
                task=task,
                first=plain(weights[task][1][0]) if weights[task][1] else ABSENT,
                last=plain(weights[task][1][-1]) if weights[task][1] else ABSENT,
                factor=plain(factors[task]),
                skipped=count(skipped[task]),
            )
            for task in tasks
        ),
        factors=any(factor is not None for factor in factors.values()),
        skipped=any(skipped.values()),
    )


def _facts(config: Mapping[str, Any], history: History) -> tuple[Fact, ...]:
    """The methods, and what they did to the steps on average."""
    seconds = _mean(history.by_step(f"{PREFIX}step_seconds"))
    changed = _mean(history.by_step(f"{PREFIX}changed"))
    cosine = _mean(history.by_step(f"{PREFIX}cosine_to_sum"))
    facts = [
        ("loss weighting", node(config, "weighting").get("name")),
        ("gradient aggregation", node(config, "aggregation").get("name")),
        ("steps changed", None if changed is None else percent(changed)),
        ("mean cosine to the plain sum", None if cosine is None else decimal(cosine, 3)),
        ("a step took", None if seconds is None else f"{plain(seconds)} s"),
    ]
    return tuple((label, str(value)) for label, value in facts if value is not None)


def _charts(tasks: Sequence[str], weights: Mapping[str, Series], history: History) -> tuple[Chart, ...]:
    losses = {task: _relative(history.by_step(f"train/{task}/loss")) for task in tasks}
    charts = []
    for title, note, unit, key, series in (
        ("Task weights", "what each loss was multiplied by", "weight", "balance-weights", weights),
        ("Training losses", "each over its first value", "loss / first loss", "balance-losses", losses),
    ):
        lines = [(LineStyle.of(at), series[task]) for at, task in enumerate(tasks) if series[task][0]]
        if lines:
            markup = training.task_curves(lines, unit=unit, key=key, label=f"{title} of all tasks by step")
            charts.append(Chart(title, note, markup))
    return tuple(charts)


def _relative(series: Series) -> Series:
    """Values over the first one; empty where that is not positive."""
    places, values = series
    if not values or values[0] <= 0:
        return [], []
    return places, [value / values[0] for value in values]


def _cosines(tasks: Sequence[str], history: History) -> HeatTable | None:
    found: dict[tuple[int, int], float] = {}
    for one, name in enumerate(tasks):
        for other, second in enumerate(tasks):
            mean = _mean(history.by_step(f"{PREFIX}cosine/{name}/{second}"))
            if mean is not None:
                found[one, other] = found[other, one] = mean
    if not found:
        return None
    own = {at for pair in found for at in pair}
    return HeatTable(
        title="Cosines between the tasks' gradients",
        note="mean over the run",
        corner="Task",
        columns=tuple(tasks[at] for at in sorted(own)),
        rows=tuple(
            (
                tasks[one],
                tuple(
                    cosine_cell(1.0 if one == other else found.get((one, other)), diagonal=one == other)
                    for other in sorted(own)
                ),
            )
            for one in sorted(own)
        ),
    )


def _mean(series: Series) -> float | None:
    """Of the log's lines, each of which is a mean over the steps since the line before."""
    return sum(series[1]) / len(series[1]) if series[1] else None
