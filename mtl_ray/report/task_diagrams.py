"""The diagrams of one task: of its evaluation, and of its course of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from mtl_ray.evaluation.results import TaskResult
from mtl_ray.report.charts import binary, multiclass, regression, training
from mtl_ray.report.comparison import value_text
from mtl_ray.report.glossary import headline_metrics, metric_info
from mtl_ray.report.history import History
from mtl_ray.report.task_card import attainable_auc


@dataclass(frozen=True)
class Chart:
    """A diagram with its heading."""

    title: str
    note: str
    markup: Markup


def evaluation_diagrams(name: str, key: str, settings: Mapping[str, Any], result: TaskResult) -> tuple[Chart, ...]:
    """Diagrams of the curves that the evaluation of the task `name` holds; `key` prefixes their ids."""
    charts: list[Chart] = []
    curves = result.curves
    if roc := curves.get("roc"):
        auc = result.metrics.get("roc_auc")
        limit = attainable_auc(result)
        markup = binary.roc_curve(
            roc["fpr"],
            roc["tpr"],
            auc=None if auc is None or auc.value is None else value_text("roc_auc", auc.value),
            attainable=None if limit is None else value_text("roc_auc", limit),
            key=f"{key}-roc",
            label=f"ROC curve of {name}",
        )
        charts.append(Chart("ROC curve", "further up and left is better", markup))
    if reliability := curves.get("reliability"):
        markup = binary.reliability_diagram(
            reliability["predicted"],
            reliability["observed"],
            reliability["rows"],
            key=f"{key}-reliability",
            label=f"Reliability diagram of {name}",
        )
        charts.append(Chart("Reliability", "dashed: perfectly calibrated", markup))
    deciles = curves.get("predicted_vs_observed")
    if deciles and len(deciles["predicted"]):
        predicted, observed = deciles["predicted"], deciles["observed"]
        markup = regression.predicted_against_observed(
            predicted, observed, key=f"{key}-predicted", label=f"Predicted against observed {name}"
        )
        charts.append(Chart("Predicted, observed", "means by tenth of the rows", markup))
        markup = regression.by_decile(
            predicted, observed, key=f"{key}-decile", label=f"Predicted and observed {name} by decile"
        )
        charts.append(Chart("By tenth of the rows", "short bars are good", markup))
    if confusion := curves.get("confusion"):
        charts.extend(_confusion(name, key, settings, confusion))
    return tuple(charts)


def _confusion(name: str, key: str, settings: Mapping[str, Any], curve: Mapping[str, Sequence[float]]) -> list[Chart]:
    counts = np.asarray(curve["count"], dtype=float)
    size = round(len(counts) ** 0.5)
    counts = counts.reshape(size, size)
    classes = [str(label) for label in settings.get("classes") or ()]
    if len(classes) != size:
        classes = [str(label) for label in range(size)]
    return [
        Chart(
            "Confusion",
            "per cent of each observed class",
            multiclass.confusion_map(counts, classes, key=f"{key}-confusion", label=f"Confusion map of {name}"),
        ),
        Chart(
            "Class shares",
            "occurring and predicted",
            multiclass.class_shares(counts, classes, key=f"{key}-shares", label=f"Class shares of {name}"),
        ),
    ]


def training_curves(name: str, kind: str, key: str, history: History) -> tuple[Chart, ...]:
    """Loss and headline metrics of the task `name` by epoch, as far as they were logged."""
    prefix = f"validation/{name}/"
    steps = history.by_step(f"train/{name}/loss")
    train = history.by_epoch(f"train/{name}/loss")
    validation = history.by_epoch(f"{prefix}loss")
    charts: list[Chart] = []
    if steps[0] or train[0] or validation[0]:
        markup = training.loss_curve(
            steps, train, validation, best=history.best, key=f"{key}-loss", label=f"Loss of {name} by epoch"
        )
        charts.append(Chart("Loss", "lower is better", markup))
    for metric in headline_metrics(kind, history.metrics_of(prefix)):
        series = history.by_epoch(prefix + metric)
        if not series[0]:
            continue
        info = metric_info(metric)
        markup = training.metric_curve(
            series,
            best=history.best,
            text=value_text(metric, history.at_best(prefix + metric)),
            key=f"{key}-{metric}",
            label=f"{info.title} of {name} by epoch",
        )
        charts.append(Chart(info.title, f"{info.better} is better", markup))
    return tuple(charts)
