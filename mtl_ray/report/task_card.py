"""A task's key figure, with the way from the baseline to the best that is attainable."""

from __future__ import annotations

from dataclasses import dataclass

from mtl_ray.evaluation.results import MetricValue, TaskResult
from mtl_ray.report.comparison import Judgement, interval_text, judge, value_text
from mtl_ray.report.formatting import ABSENT, number, percent
from mtl_ray.report.glossary import headline_metrics, metric_info
from mtl_ray.report.history import History


@dataclass(frozen=True)
class Meter:
    """A bar from the baseline's value to the best that is attainable."""

    share: float
    """Filled part, 0 to 1."""
    start: str
    end: str


@dataclass(frozen=True)
class Card:
    """A task's key figure."""

    metric: str
    value: str
    interval: str | None
    judgement: Judgement | None
    meter: Meter | None
    remark: str
    second: tuple[str, str] | None


def task_card(name: str, kind: str, result: TaskResult | None, history: History) -> Card:
    """The card of the task `name`, from its evaluation or, without one, from the best epoch's validation."""
    known = history.metrics_of(f"validation/{name}/") if result is None else result.metrics
    metric, second = headline_metrics(kind, known)
    title = metric_info(metric).title
    if result is None:
        return _training_card(name, metric, title, history)
    if result.rows == 0:
        return Card(title, ABSENT, None, None, None, "No evaluated row has this label.", None)
    value = result.metrics.get(metric)
    if value is None or value.value is None:
        return Card(title, ABSENT, None, None, None, "Not defined for these rows.", None)
    other = result.metrics.get(second)
    meter, remark = _meter(kind, metric, value, result)
    return Card(
        metric=title,
        value=value_text(metric, value.value),
        interval=interval_text(metric, value),
        judgement=judge(metric, value),
        meter=meter,
        remark=remark,
        second=None if other is None else (metric_info(second).title, value_text(second, other.value)),
    )


def _training_card(name: str, metric: str, title: str, history: History) -> Card:
    value = history.at_best(f"validation/{name}/{metric}")
    if value is None:
        metric, title = "loss", "Validation loss"
        value = history.at_best(f"validation/{name}/loss")
    else:
        title = f"Validation {title}"
    if value is None:
        return Card(title, ABSENT, None, None, None, "Not measured during training.", None)
    epoch = f"epoch {history.best:g}, the best one" if history.best is not None else "the last epoch"
    return Card(title, value_text(metric, value), None, None, None, f"After {epoch}.", None)


def _meter(kind: str, metric: str, value: MetricValue, result: TaskResult) -> tuple[Meter | None, str]:
    """How far the value lies from the baseline's towards the best that there is, and the same in words."""
    base = value.baseline
    assert value.value is not None
    if base is None:
        return None, ""
    shown = value_text(metric, base, value.value)
    if kind in ("binary", "next_item"):
        limit = attainable_auc(result)
        if limit is not None and limit > 0.5 and (share := number(result.share_of_attainable)) is not None:
            end = f"{value_text(metric, limit)} attainable"
            return Meter(_clip(share), f"{shown} chance", end), f"{percent(share)} of what is attainable"
        share = (value.value - base) / (1 - base) if base < 1 else 0.0
        return Meter(_clip(share), f"{shown} chance", "1 perfect"), f"{percent(share)} of the way to perfect order"
    if metric_info(metric).better == "lower":
        share = 1 - value.value / base if base > 0 else 0.0
        words = "less" if share >= 0 else "more"
        constant = "quantile" if metric == "pinball" else "mean"
        remark = f"{percent(abs(share))} {words} error than predicting the {constant}"
        return Meter(_clip(share), f"{shown} {constant}", "0 no error"), remark
    share = (value.value - base) / (1 - base) if base < 1 else 0.0
    gain = 100 * (value.value - base)
    return Meter(_clip(share), f"{shown} baseline", "1 always right"), f"{gain:+.1f} points against the baseline"


def _clip(share: float) -> float:
    return round(min(max(share, 0.0), 1.0), 4)


def attainable_auc(result: TaskResult | None) -> float | None:
    """ROC-AUC of the true probabilities, where they are known."""
    return None if result is None or not result.attainable else number(result.attainable.get("roc_auc"))
