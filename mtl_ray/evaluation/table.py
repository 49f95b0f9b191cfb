"""An evaluation as a table for the terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table

from mtl_ray.evaluation.results import EvaluationResult, MetricValue, ScoreResult, TaskResult

_MAIN = {
    "binary": ("roc_auc", "gauc", "pr_auc", "log_loss", "normalized_entropy", "ece", "predicted_over_observed"),
    "multiclass": ("accuracy", "top2_accuracy", "top3_accuracy", "macro_f1", "log_loss"),
    "next_item": ("roc_auc", "gauc"),
    "ordinal": ("quadratic_kappa", "class_mae", "accuracy", "macro_f1", "log_loss"),
    "regression": ("pinball", "coverage", "rmse", "mae", "r2", "rmse_log1p", "r2_log1p"),
    "value": ("normalized_gini", "rmse", "mae", "r2", "rmse_log1p", "r2_log1p"),
    "watch_time": ("rmse", "mae", "r2", "rmse_log1p", "r2_log1p"),
}


def results_table(result: EvaluationResult, every_metric: bool = False) -> Table:
    """The main metrics of each task (or every one, the main ones first) in a table for 80 columns."""
    table = Table(
        title=_title(result),
        caption=_caption(result),
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("task", overflow="fold", min_width=11)
    table.add_column("metric", overflow="fold")
    for title in ("value", "interval", "baseline"):
        table.add_column(title, justify="right", no_wrap=True)
    for task in result.tasks:
        _add_task(table, task, every_metric)
    if result.score is not None:
        _add_score(table, result.score)
    return table


def _add_task(table: Table, task: TaskResult, every_metric: bool) -> None:
    main = [name for name in _MAIN.get(task.type, ()) if name in task.metrics]
    others = [name for name in task.metrics if name not in main]
    names = main + others if every_metric or not main else main
    rows = [
        (name, _number(task.metrics[name].value), _interval(task.metrics[name]), _number(task.metrics[name].baseline))
        for name in names
    ]
    if task.share_of_attainable is not None:
        rows.insert(1, ("  of the attainable", f"{100 * task.share_of_attainable:.1f} %", "", ""))
    for position, row in enumerate(rows):
        label = (task.task, f"{task.rows:,} rows")[position] if position < 2 else ""
        table.add_row(label, *row, end_section=position == len(rows) - 1)


def _add_score(table: Table, score: ScoreResult) -> None:
    formula = " ".join(f"{task}^{weight:.2g}" for task, weight in score.fusion.weights.items())
    if score.fusion.formula == "sum":
        formula = " + ".join(f"{weight:.2g} {task}" for task, weight in score.fusion.weights.items())
    rows = [
        (f"{task} {name}", _number(value.value), _interval(value), _number(value.baseline))
        for task, values in score.metrics.items()
        for name, value in values.items()
    ]
    for position, row in enumerate(rows):
        label = ("score", formula)[position] if position < 2 else ""
        table.add_row(label, *row, end_section=position == len(rows) - 1)


def _title(result: EvaluationResult) -> str:
    groups = f", {result.groups:,} distinct {result.group_by}" if result.groups is not None else ""
    return f"{result.split}: {result.rows:,} rows{groups}"


def _caption(result: EvaluationResult) -> str:
    parts = ["baseline: predicts the training part's mean"]
    if result.replicates:
        drawn = f"whole {result.group_by} groups" if result.group_by else "rows"
        parts.insert(0, f"{100 * result.confidence:g} % intervals from {result.replicates} resamplings of {drawn}")
    if any(task.share_of_attainable is not None for task in result.tasks):
        parts.append("of the attainable: share of the way from 0.5 to the true probabilities' ROC-AUC")
    if result.score is not None:
        parts.append("score: how it orders by each label; its baseline is that task's own prediction")
    return "\n".join(parts)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def _interval(metric: MetricValue) -> str:
    if metric.low is None or metric.high is None:
        return ""
    # Rich reads [word] as markup; a bracket followed by a digit is text.
    return f"[{_number(metric.low)}, {_number(metric.high)}]"
