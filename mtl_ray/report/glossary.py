"""What each metric is called, means, and which direction is good."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class MetricInfo:
    """How the report presents one metric."""

    title: str
    meaning: str
    better: Better
    """`neither`: not compared with the baseline, because predicting the mean is ideal in it by construction."""
    decimals: int | None = 3
    """None: label units, so as many as four significant digits take."""


_METRICS: dict[str, MetricInfo] = {
    "roc_auc": MetricInfo(
        "ROC-AUC",
        "Chance that a random positive row is scored above a random negative one. 0.5 is a coin toss, 1 is perfect "
        "order. It judges the order alone: scores may be far from probabilities.",
        "higher",
    ),
    "gauc": MetricInfo(
        "GAUC",
        "ROC-AUC inside each group (usually a user), averaged with the groups' rows as weights; groups whose rows "
        "are all positive or all negative are left out. It asks whether each user's own list is in a good order, "
        "so telling active users from inactive ones earns nothing here.",
        "higher",
    ),
    "pr_auc": MetricInfo(
        "PR-AUC",
        "Average precision over all recall levels. Its floor is the base rate, not 0.5, so it shows progress on "
        "rare events that ROC-AUC hides.",
        "higher",
    ),
    "log_loss": MetricInfo(
        "Log loss",
        "Mean negative log of the probability that was given to what really happened. Punishes confident mistakes; "
        "it is what training minimises.",
        "lower",
        4,
    ),
    "normalized_entropy": MetricInfo(
        "Normalised entropy",
        "Log loss divided by the log loss of always predicting these rows' own base rate: below 1 the model knows "
        "something, and values compare across tasks of different rates.",
        "lower",
    ),
    "ece": MetricInfo(
        "Calibration error",
        "Expected calibration error: rows in 15 equally wide bins of prediction; mean distance between predicted "
        "and observed rate, weighted by rows. 0 is ideal. Predicting the mean is calibrated too, so the baseline "
        "is no contest here.",
        "neither",
        4,
    ),
    "predicted_over_observed": MetricInfo(
        "Predicted / observed",
        "Sum of the predictions over the sum of the labels: 1.1 means ten per cent too many are expected.",
        "neither",
    ),
    "accuracy": MetricInfo(
        "Accuracy",
        "Share of rows whose predicted class is right. With a rare positive class, always answering no scores high "
        "as well: look at the baseline.",
        "higher",
    ),
    "precision": MetricInfo("Precision", "Of the rows called positive, the share that is.", "higher"),
    "recall": MetricInfo("Recall", "Of the rows that are positive, the share called so.", "higher"),
    "f1": MetricInfo("F1", "Harmonic mean of precision and recall at the task's threshold.", "higher"),
    "macro_f1": MetricInfo("Macro F1", "F1 of each class, averaged with every class counting the same.", "higher"),
    "rmse": MetricInfo(
        "RMSE",
        "Root of the mean squared error, in the label's units. Large misses weigh most.",
        "lower",
        None,
    ),
    "mae": MetricInfo("MAE", "Mean absolute error, in the label's units.", "lower", None),
    "r2": MetricInfo(
        "R²",
        "Share of the label's variance that the predictions explain. 0 is what predicting the mean reaches, 1 is "
        "perfect, below 0 is worse than the mean.",
        "higher",
    ),
    "quadratic_kappa": MetricInfo(
        "Quadratic kappa",
        "Agreement of predicted and right class, in which a miss by two classes weighs four times as much as one by "
        "one. 0 is what chance reaches, 1 is perfect. The predicted class is the median of the probabilities.",
        "higher",
    ),
    "class_mae": MetricInfo(
        "Class distance",
        "Mean number of classes between the predicted class (the median of the probabilities) and the right one.",
        "lower",
    ),
    "normalized_gini": MetricInfo(
        "Normalised Gini",
        "How well the predictions order the rows by amount: 0 is an order by chance, 1 is the labels' own. Like "
        "ROC-AUC it judges the order alone.",
        "higher",
    ),
    "pinball": MetricInfo(
        "Pinball loss",
        "Mean distance between label and predicted quantile, in the label's units, weighed by the level where the "
        "label is above and by 1 - level where it is below. The baseline predicts the training part's quantile.",
        "lower",
        None,
    ),
    "coverage": MetricInfo(
        "Coverage",
        "Share of the labels that are not above the predicted quantile: right is the level that was asked for.",
        "neither",
    ),
    "loss": MetricInfo(
        "Loss", "The task's loss on these rows: of the predictions, without class weights or smoothing.", "lower", 4
    ),
}

_TOP = re.compile(r"top_?(\d+)_accuracy")

_HEADLINE = {
    "binary": ("roc_auc", "normalized_entropy"),
    "multiclass": ("accuracy", "log_loss"),
    "next_item": ("roc_auc", "gauc"),
    "ordinal": ("quadratic_kappa", "log_loss"),
    "regression": ("rmse", "r2"),
    "value": ("normalized_gini", "rmse"),
    "watch_time": ("rmse", "r2"),
}

_HEADLINE_OF_QUANTILES = ("pinball", "coverage")

_OVERVIEW = {
    "binary": ("roc_auc", "gauc", "pr_auc", "log_loss", "normalized_entropy", "ece", "predicted_over_observed"),
    "multiclass": ("accuracy", "top2_accuracy", "top3_accuracy", "macro_f1", "log_loss"),
    "next_item": ("roc_auc", "gauc", "pr_auc"),
    "ordinal": ("quadratic_kappa", "class_mae", "accuracy", "macro_f1", "log_loss"),
    "regression": ("pinball", "coverage", "rmse", "mae", "r2", "rmse_log1p", "mae_log1p", "r2_log1p"),
    "value": ("normalized_gini", "rmse", "mae", "r2", "rmse_log1p", "mae_log1p", "r2_log1p"),
    "watch_time": ("rmse", "mae", "r2", "rmse_log1p", "mae_log1p", "r2_log1p"),
}


def metric_info(name: str) -> MetricInfo:
    """Presentation of the metric called `name`; an unknown one shows its own name and is not judged."""
    if name in _METRICS:
        return _METRICS[name]
    if match := _TOP.fullmatch(name):
        meaning = f"Share of rows whose true class is among the {match[1]} that were given most probability."
        return MetricInfo(f"Top-{match[1]} accuracy", meaning, "higher")
    stem = name.removesuffix("_log1p")
    if stem != name and stem in _METRICS:
        base = _METRICS[stem]
        return MetricInfo(
            f"{base.title} of log(1+y)", f"{base.title} after log(1 + label): relative errors count.", base.better
        )
    return MetricInfo(name.replace("_", " "), "", "neither", None)


def headline_metrics(task_type: str, known: Collection[str] = ()) -> tuple[str, str]:
    """The metric that a task is known by, and a second one; `known`: names of all metrics that it has, as a quantile
    has others than a mean."""
    if _HEADLINE_OF_QUANTILES[0] in known:
        return _HEADLINE_OF_QUANTILES
    return _HEADLINE.get(task_type, ("loss", "loss"))


def overview_metrics(task_type: str) -> tuple[str, ...]:
    """Metrics that the table of all tasks shows; a task's own table has them all."""
    return _OVERVIEW.get(task_type, ())
