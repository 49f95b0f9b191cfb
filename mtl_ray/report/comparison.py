"""Whether a value is better than the baseline's, as far as its interval can tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mtl_ray.evaluation.results import MetricValue
from mtl_ray.report.formatting import decimal, decimals_for
from mtl_ray.report.glossary import headline_metrics, metric_info

Judgement = Literal["better", "worse", "level"]


def judge(metric: str, value: MetricValue) -> Judgement | None:
    """`better` or `worse` where the whole interval lies on one side of the baseline, `level` where it does not.

    Without an interval the value itself decides. None where there is nothing to compare.
    """
    direction = metric_info(metric).better
    if direction == "neither" or value.value is None or value.baseline is None:
        return None
    low = value.value if value.low is None else value.low
    high = value.value if value.high is None else value.high
    if low > value.baseline:
        return "better" if direction == "higher" else "worse"
    if high < value.baseline:
        return "worse" if direction == "higher" else "better"
    return "level"


def judge_task(kind: str, metrics: Mapping[str, MetricValue]) -> Judgement | None:
    """The judgement of a task by its headline metric; where that cannot tell, by the second one.

    Accuracy, say, stays level while the probabilities are already far better than the classes' shares.
    """
    first, second = (
        judge(name, metrics[name]) if name in metrics else None for name in headline_metrics(kind, metrics)
    )
    return second if first in ("level", None) and second is not None else first


def value_text(metric: str, value: float | None, scale: float | None = None) -> str:
    """The value with the metric's decimals; `scale` is the number that decides them for label units."""
    decimals = metric_info(metric).decimals
    return decimal(value, decimals_for(scale if scale is not None else value) if decimals is None else decimals)


def interval_text(metric: str, value: MetricValue) -> str | None:
    """`low – high`, or None without an interval."""
    if value.low is None or value.high is None:
        return None
    return f"{value_text(metric, value.low, value.value)} – {value_text(metric, value.high, value.value)}"
