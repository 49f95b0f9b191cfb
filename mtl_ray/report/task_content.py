"""What the report says about one task: its card, its table, its diagrams and its course of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mtl_ray.evaluation.results import MetricValue, TaskResult
from mtl_ray.report.comparison import Judgement, interval_text, judge, judge_task, value_text
from mtl_ray.report.formatting import ABSENT, count, number, percent, plain
from mtl_ray.report.glossary import metric_info
from mtl_ray.report.history import History
from mtl_ray.report.task_card import Card, attainable_auc, task_card
from mtl_ray.report.task_diagrams import Chart, evaluation_diagrams, training_curves

_USUAL_LOSSES = ("bce", "squared")
_COLUMNS = {"duration": "duration column", "offset": "offset column", "sample_weight": "weight column"}


@dataclass(frozen=True)
class MetricRow:
    """One metric of one task as it reads."""

    metric: str
    title: str
    value: str
    interval: str | None
    baseline: str
    judgement: Judgement | None


@dataclass(frozen=True)
class EpochTable:
    """Validation metrics of every epoch."""

    metrics: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[int, bool, tuple[str, ...]], ...]
    """Epoch, whether it is the best one, values."""


@dataclass(frozen=True)
class TaskContent:
    """Everything about one task."""

    name: str
    key: str
    type: str
    facts: tuple[tuple[str, str], ...]
    card: Card
    rows_judged: str
    """Evaluated rows that have this label."""
    rows: dict[str, MetricRow]
    """By metric name; empty without an evaluation."""
    attainable: str | None
    attainable_share: str | None
    diagrams: tuple[Chart, ...]
    curves: tuple[Chart, ...]
    epochs: EpochTable | None
    judgement: Judgement | None
    """Of the task as a whole."""
    unobserved: bool
    """Evaluated, but without any row that has this label."""


def task_content(
    name: str, position: int, settings: Mapping[str, Any], result: TaskResult | None, history: History
) -> TaskContent:
    """The content of the `position`-th task, whose node of the config is `settings`."""
    kind = str(settings.get("type") or (result.type if result else "task"))
    key = f"t{position}"
    unobserved = result is not None and result.rows == 0
    rows: dict[str, MetricRow] = {}
    if result is not None and not unobserved:
        rows = {metric: _row(metric, value) for metric, value in result.metrics.items()}
    attainable = attainable_auc(result)
    return TaskContent(
        name=name,
        key=key,
        type=kind,
        facts=_facts(kind, name, settings, result),
        card=task_card(name, kind, result, history),
        rows_judged=ABSENT if result is None else count(result.rows),
        rows=rows,
        attainable=None if attainable is None else value_text("roc_auc", attainable),
        attainable_share=None if result is None or not rows else _share(result),
        diagrams=() if result is None or unobserved else evaluation_diagrams(name, key, settings, result),
        curves=training_curves(name, kind, key, history),
        epochs=_epoch_table(name, history),
        judgement=None if result is None or unobserved else judge_task(kind, result.metrics),
        unobserved=unobserved,
    )


def _row(metric: str, value: MetricValue) -> MetricRow:
    return MetricRow(
        metric=metric,
        title=metric_info(metric).title,
        value=value_text(metric, value.value),
        interval=interval_text(metric, value),
        baseline=value_text(metric, value.baseline, value.value),
        judgement=judge(metric, value),
    )


def _share(result: TaskResult) -> str | None:
    share = number(result.share_of_attainable)
    return None if share is None else percent(share)


def _facts(kind: str, name: str, settings: Mapping[str, Any], result: TaskResult | None) -> tuple[tuple[str, str], ...]:
    facts = [("type", kind.replace("_", " "))]
    if result is not None:
        facts.append(("rows with a label", f"{count(result.rows)} of {count(result.rows_in_split)}"))
        base = number(result.base)
        if base is not None:
            facts.append(("base rate", percent(base, 1)) if kind in ("binary", "next_item") else ("mean", plain(base)))
    if settings.get("label") not in (None, name):
        facts.append(("label column", str(settings["label"])))
    if settings.get("observed_when"):
        facts.append(("observed when", str(settings["observed_when"])))
    if settings.get("transform") not in (None, "none"):
        facts.append(("learnt as", str(settings["transform"])))
    if (loss := _loss(settings.get("loss"))) is not None:
        facts.append(("loss", loss))
    for key, words in _COLUMNS.items():
        if settings.get(key):
            facts.append((words, str(settings[key])))
    if kind == "next_item":
        facts += [(f"{side} features", ", ".join(settings.get(side) or ())) for side in ("user", "item")]
    smoothing = number(settings.get("label_smoothing"))
    if smoothing:
        facts.append(("label smoothing", f"{smoothing:g}"))
    if kind == "binary" and result is not None and result.threshold is not None:
        facts.append(("threshold", f"{result.threshold:g}"))
    weight = number(settings.get("weight"))
    if weight is not None and weight != 1:
        facts.append(("weight in the loss", f"{weight:g}"))
    return tuple(facts)


def _loss(settings: object) -> str | None:
    """The loss with its numbers; None for a type's usual one."""
    if not isinstance(settings, Mapping):
        return None if settings in (None, "squared") else str(settings)
    if settings.get("name") in _USUAL_LOSSES:
        return None
    numbers = [f"{key} {value:g}" for key, value in settings.items() if isinstance(value, int | float)]
    return ", ".join([str(settings.get("name")), *numbers])


def _epoch_table(name: str, history: History) -> EpochTable | None:
    prefix = f"validation/{name}/"
    metrics = history.metrics_of(prefix)
    if not metrics:
        return None
    columns = {metric: history.by_epoch(prefix + metric) for metric in metrics}
    epochs = sorted({epoch for places, _ in columns.values() for epoch in places})
    values = {metric: dict(zip(*series, strict=True)) for metric, series in columns.items()}
    return EpochTable(
        metrics=tuple(metrics),
        columns=tuple(metric_info(metric).title for metric in metrics),
        rows=tuple(
            (
                int(epoch),
                epoch == history.best,
                tuple(value_text(metric, values[metric].get(epoch)) for metric in metrics),
            )
            for epoch in epochs
        ),
    )
