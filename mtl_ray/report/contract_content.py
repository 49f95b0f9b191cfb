"""What the report says about the data contract, from the run's contract.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mtl_ray.data.contract import ContractResult, Finding
from mtl_ray.data.contract.result import FeatureSummary, Severity, TaskDays, ViewSummary
from mtl_ray.data.contract.wording import age
from mtl_ray.report.charts import daily
from mtl_ray.report.formatting import ABSENT, count, percent, plain
from mtl_ray.report.task_diagrams import Chart

PSI_SCALE = 0.5
"""PSI at which the bar of a feature is full."""


@dataclass(frozen=True)
class FeatureDrift:
    """One feature in the training and the test part."""

    name: str
    view: str
    type: str
    missing_train: str
    missing_test: str
    found: str
    """Range of the values."""
    allowed: str
    psi: str
    bar: float
    """0 to 1."""
    severity: Severity


@dataclass(frozen=True)
class ViewFreshness:
    """One feature view as the join met it."""

    name: str
    matched: str
    empty: str
    median: str
    p99: str
    oldest: str
    ttl: str


@dataclass(frozen=True)
class ContractContent:
    """The check of the data contract as the report shows it."""

    verdict: str
    attention: tuple[Finding, ...]
    in_order: tuple[Finding, ...]
    reasons: tuple[tuple[str, str], ...]
    """Why rows were quarantined, and how many."""
    features: tuple[FeatureDrift, ...]
    """The most drifted first."""
    views: tuple[ViewFreshness, ...]
    timed: bool
    """Whether the age of any view's rows is known."""
    charts: tuple[Chart, ...]


def contract_content(result: ContractResult | None, config: Mapping[str, Any]) -> ContractContent | None:
    """The content of `result`; None without one. `config` is the run's, for the types of its tasks."""
    if result is None:
        return None
    tasks = config.get("tasks")
    types = {name: task.get("type") for name, task in tasks.items()} if isinstance(tasks, Mapping) else {}
    features = sorted(result.features, key=lambda feature: -(feature.psi or 0.0))
    views = tuple(_view(view) for view in result.views)
    return ContractContent(
        verdict=_verdict(result),
        attention=(*result.of("stop"), *result.of("warn")),
        in_order=result.of("ok"),
        reasons=tuple((reason, count(rows)) for reason, rows in result.reasons.items()),
        features=tuple(_feature(feature) for feature in features),
        views=views,
        timed=any(view.age_median is not None for view in result.views),
        charts=tuple(
            chart
            for place, (task, days) in enumerate(result.tasks.items())
            if (chart := _chart(result, task, days, types.get(task), place)) is not None
        ),
    )


def _verdict(result: ContractResult) -> str:
    total = sum(result.rows.values()) + result.quarantined
    rows = f"{count(total)} joined rows were checked"
    if result.quarantined:
        rows += f"; {count(result.quarantined)} ({percent(result.quarantined / total)}) broke a hard rule"
        rows += " and lie in the training set's quarantine"
    attention = len(result.of("stop")) + len(result.of("warn"))
    if not attention:
        return f"{rows}. All in order."
    return f"{rows}. {attention} {'point deserves' if attention == 1 else 'points deserve'} attention."


def _feature(feature: FeatureSummary) -> FeatureDrift:
    low, high = feature.allowed
    return FeatureDrift(
        name=feature.name,
        view=feature.view or "",
        type=feature.type,
        missing_train=percent(feature.missing.get("train"), 1),
        missing_test=percent(feature.missing.get("test"), 1),
        found=_range(feature.minimum, feature.maximum),
        allowed="" if low is None and high is None else _range(low, high),
        psi=ABSENT if feature.psi is None else f"{feature.psi:.3f}",
        bar=min((feature.psi or 0.0) / PSI_SCALE, 1.0),
        severity=feature.drift,
    )


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    return f"{_value(low)} to {_value(high)}"


def _value(value: float | None) -> str:
    if value is None:
        return "any"
    return count(value) if value == int(value) and abs(value) < 1e15 else plain(value)


def _view(view: ViewSummary) -> ViewFreshness:
    return ViewFreshness(
        name=view.name,
        matched=percent(view.matched, 1),
        empty=percent(view.empty, 1),
        median=_age(view.age_median),
        p99=_age(view.age_p99),
        oldest=_age(view.age_max),
        ttl="for ever" if view.ttl is None else age(view.ttl),
    )


def _age(seconds: float | None) -> str:
    return ABSENT if seconds is None else age(seconds)


def _chart(result: ContractResult, task: str, days: TaskDays, kind: object, place: int) -> Chart | None:
    if not any(days.observed):
        return None
    key, label = f"d{place}-days", f"Labels of {task} by day"
    if days.classes:
        markup = daily.class_rates(result.days, days.shares, days.classes, key=key, label=label)
        most = daily.MOST_CLASSES
        of_all = f", the {most} most frequent of {len(days.classes)}" if len(days.classes) > most else ""
        return Chart(task, f"share of each class by day{of_all}", markup)
    by_part = list(result.rows_by_day.values())
    parts = [max(range(len(by_part)), key=lambda part: by_part[part][at]) for at in range(len(result.days))]
    binary = kind in ("binary", "next_item")
    markup = daily.label_rate(result.days, days.mean, parts, share=binary, key=key, label=label)
    return Chart(task, "label rate by day" if binary else "mean label by day", markup)
