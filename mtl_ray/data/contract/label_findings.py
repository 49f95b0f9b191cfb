"""The rules on the labels of each day."""

from __future__ import annotations

from collections.abc import Iterator

from mtl_ray.data.contract.config import LabelRateRule
from mtl_ray.data.contract.result import ContractResult, Finding, TaskDays
from mtl_ray.data.contract.wording import listed, number

_EXPECTED = 20
"""Labels that a day must let expect for their absence to be remarkable."""


def label_findings(result: ContractResult, rule: LabelRateRule) -> Iterator[Finding]:
    """Tasks with days whose mean label is out of bounds, and days without labels."""
    rows = [sum(day) for day in zip(*result.rows_by_day.values(), strict=True)]
    for task, labels in result.tasks.items():
        gaps = _gaps(result, labels, rows)
        if gaps:
            yield Finding(
                severity="warn",
                subject=task,
                rule="labels a day",
                found=f"none on {listed(gaps)}, with rows as on other days",
                allowed="labels on every day",
                fix="do the labels arrive later than the rows? Leave these days out of the spine until they are there",
            )
        if task in rule.bounds:
            yield _rates(result, task, labels, rule)


def _gaps(result: ContractResult, labels: TaskDays, rows: list[int]) -> list[str]:
    rate = sum(labels.observed) / sum(rows) if sum(rows) else 0.0
    days = zip(result.days, labels.observed, rows, strict=True)
    return [day.isoformat() for day, observed, count in days if not observed and count * rate >= _EXPECTED]


def _rates(result: ContractResult, task: str, labels: TaskDays, rule: LabelRateRule) -> Finding:
    low, high = rule.bounds[task]
    days = zip(result.days, labels.mean, labels.observed, strict=True)
    judged = [(day, mean) for day, mean, observed in days if mean is not None and observed >= rule.min_labels]
    out = [f"{number(mean)} on {day.isoformat()}" for day, mean in judged if not low <= mean <= high]
    allowed = f"{number(low)} to {number(high)}"
    if not out:
        found = f"in bounds on all {len(judged)} days with {rule.min_labels} labels"
        return Finding(severity="ok", subject=task, rule="label rate", found=found, allowed=allowed)
    return Finding(
        severity=rule.then,
        subject=task,
        rule="label rate",
        found=f"{len(out)} of {len(judged)} days out of bounds: {listed(out)}",
        allowed=allowed,
        fix="look at how the label was written on these days, or widen training_set.contract.label_rates.bounds",
    )
