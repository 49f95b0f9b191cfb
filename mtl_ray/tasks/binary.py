"""Binary tasks: did it happen? One logit, binary cross-entropy or focal loss.

Where the training rows were sampled by this label, or its positives weigh more, the model learns other odds than the
true ones. With negatives kept at rate r, positives repeated f times and weighed w times as much as negatives,

    odds that are learnt = true odds * f * w / r

whatever the features say, so one constant is taken off the logits: the prior correction of King and Zeng 2001 (Logistic
regression in rare events data, section 4.1), in terms of r as in He et al. 2014 (Practical lessons from predicting
clicks on ads at Facebook, section 6.3). Deviation: r and f are what was asked for, not the shares that were drawn.

A focal loss is lowest at other probabilities than the true ones, nearer to 1/2; the closed form that leads back
(`focal_corrected`) is applied to the logits first, and is strictly rising, so that no order changes. Its alpha is a
positive weight of alpha / (1 - alpha). Label smoothing (Szegedy et al. 2016, section 7, uniform u) draws probabilities
p to (1 - s) p + s / 2 and they stay there: the way back would tie all those below s / 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from mtl_ray.metrics import Metric, binary_metrics
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks.binary_losses import BinaryLoss, CrossEntropy, FocalLoss, focal_corrected, focal_loss
from mtl_ray.tasks.class_weights import checked_weight
from mtl_ray.tasks.labels import zero_or_one
from mtl_ray.tasks.task import NO_INPUTS, Task, TaskSettings, at_least_float32


class BinaryTaskConfig(TaskSettings):
    """Label 0 or 1 (or boolean)."""

    type: Literal["binary"] = "binary"
    threshold: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Predicted probability from which accuracy, precision, recall and F1 count a row as positive."""
    loss: BinaryLoss = CrossEntropy()
    """Of training: bce, or {name: focal, gamma: 2, alpha: null}. Validation always measures cross-entropy."""
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Training labels 0 and 1 become s / 2 and 1 - s / 2; validation is never smoothed."""
    positive_weight: float | Literal["balanced"] = 1.0
    """How much more a positive row weighs in the training loss than a negative one; balanced: negatives / positives
    of the rows that are trained on. The loss keeps its scale: the mean weight over those rows is 1."""
    calibrate: bool = True
    """Take positive_weight (and a focal loss's alpha) out of the predicted probabilities again, so that they are of
    the true rates. false: they are of the weighted ones. What sampling or a focal loss's gamma did is taken out in any
    case, what label smoothing did in none."""

    @field_validator("loss", mode="before")
    @classmethod
    def _loss_by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("positive_weight", mode="before")
    @classmethod
    def _check_positive_weight(cls, value: Any) -> Any:
        return value if value == "balanced" else checked_weight(value)

    @model_validator(mode="after")
    def _one_weight(self) -> Self:
        if isinstance(self.loss, FocalLoss) and self.loss.alpha is not None and self.positive_weight != 1.0:
            raise ValueError(
                f"loss.alpha {self.loss.alpha:g} and positive_weight {self.positive_weight} both weigh positive rows; "
                "remove one of them"
            )
        return self

    @property
    def probabilities_are_true(self) -> bool:
        """Whether sigmoid(logit - constant) is trained towards the true probability, as the serial architectures
        need it."""
        weighted = self.positive_weight != 1.0 and not self.calibrate
        return isinstance(self.loss, CrossEntropy) and self.label_smoothing == 0.0 and not weighted

    def encode_labels(self, values: pa.ChunkedArray, column: str) -> np.ndarray:
        return zero_or_one(values, column, fix="correct the spine, or use type: regression for amounts")

    def build(self, name: str, statistics: LabelStatistics) -> BinaryTask:
        return BinaryTask(name, self, statistics)


class BinaryTask(Task):
    """`C_t` = 1; predictions are probabilities `[B]`."""

    num_outputs = 1
    config: BinaryTaskConfig

    def __init__(self, name: str, config: BinaryTaskConfig, statistics: LabelStatistics) -> None:
        super().__init__(name, config)
        self._keep, self._repeat = statistics.negative_keep, statistics.positive_repeat
        sampling = math.log(self._repeat) - math.log(self._keep)
        sampled = _log_odds(statistics) + sampling
        weight = -sampled if config.positive_weight == "balanced" else math.log(config.positive_weight)
        self._positive, self._negative = _mean_one(sampled, weight)
        self._focal = config.loss if isinstance(config.loss, FocalLoss) else None
        if self._focal is not None and self._focal.alpha is not None:
            # It weighs what is said of both labels, not rows: after smoothing.
            weight = math.log(self._focal.alpha) - math.log1p(-self._focal.alpha)
            self._learnt = _smoothed(sampled, config.label_smoothing) + weight
        else:
            self._learnt = _smoothed(sampled + weight, config.label_smoothing)
        self._shift = sampling + (weight if config.calibrate else 0.0)

    def loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:  # noqa: ARG002
        logit = at_least_float32(logits).squeeze(-1)
        target = label.to(logit.dtype)
        if self.config.label_smoothing > 0.0:
            target = target * (1.0 - self.config.label_smoothing) + 0.5 * self.config.label_smoothing
        if self._focal is not None:
            return focal_loss(logit, target, self._focal.gamma, self._focal.alpha)
        return F.binary_cross_entropy_with_logits(logit, target, reduction="none")

    def held_out_loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:  # noqa: ARG002
        """Cross-entropy of the predicted probabilities, whatever the training loss."""
        logit = at_least_float32(self.corrected(logits)).squeeze(-1)
        return F.binary_cross_entropy_with_logits(logit, label.to(logit.dtype), reduction="none")

    def class_weight(self, label: Tensor) -> Tensor | None:
        if self._positive == self._negative:
            return None
        return _by_label(label, self._positive, self._negative)

    def copies(self, label: Tensor, observed: Tensor) -> Tensor | None:
        if self._keep == self._repeat == 1.0:
            return None
        return torch.where(observed, _by_label(label, self._repeat, self._keep), 1.0)

    def corrected(self, logits: Tensor) -> Tensor:
        if self._focal is not None:
            logits = focal_corrected(at_least_float32(logits), self._focal.gamma)
        return logits if self._shift == 0.0 else at_least_float32(logits) - self._shift

    def predict(self, logits: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:  # noqa: ARG002
        return torch.sigmoid(at_least_float32(self.corrected(logits))).squeeze(-1)

    def initial_bias(self) -> Tensor:
        """The logit at which the loss is lowest for the base rate after sampling, weights and smoothing; a rate of 0 or
        1 in n rows becomes half a row of the other kind in n + 1."""
        learnt = self._learnt if self._focal is None else _focal_logit(self._learnt, self._focal.gamma)
        return torch.tensor([learnt], dtype=torch.float32)

    def metrics(self, grouped: bool) -> dict[str, Metric]:
        return binary_metrics(threshold=self.config.threshold, grouped=grouped)


def _log_odds(statistics: LabelStatistics) -> float:
    """Of the base rate before sampling; 0 without any label."""
    rate = statistics.mean
    if rate is None or statistics.observed == 0:
        return 0.0
    margin = 0.5 / (statistics.observed + 1)
    rate = min(max(rate, margin), 1.0 - margin)
    return math.log(rate) - math.log1p(-rate)


def _smoothed(log_odds: float, smoothing: float) -> float:
    """Log odds of (1 - smoothing) * p + smoothing / 2."""
    if smoothing == 0.0:
        return log_odds
    rate = (1.0 - smoothing) / (1.0 + math.exp(-log_odds)) + 0.5 * smoothing
    return math.log(rate) - math.log1p(-rate)


def _focal_logit(log_odds: float, gamma: float) -> float:
    """The logit that `focal_corrected` takes to `log_odds`, by bisection: it lies between 0 and `log_odds`."""
    low, high = min(log_odds, 0.0), max(log_odds, 0.0)
    for _ in range(60):
        middle = 0.5 * (low + high)
        if float(focal_corrected(torch.tensor(middle, dtype=torch.float64), gamma)) < log_odds:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _mean_one(log_odds: float, log_weight: float) -> tuple[float, float]:
    """Weights of a positive and of a negative row in the ratio exp(log_weight), 1 on average at those odds."""
    positive = 1.0 / (1.0 + math.exp(-log_odds))
    weight = math.exp(log_weight)
    mean = positive * weight + (1.0 - positive)
    return weight / mean, 1.0 / mean


def _by_label(label: Tensor, positive: float, negative: float) -> Tensor:
    """`[B]` in the dtype of `label`."""
    return torch.full_like(label, negative).masked_fill(label > 0.5, positive)
