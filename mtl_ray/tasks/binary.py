"""Binary tasks: did it happen? One logit, binary cross-entropy.

Where the training rows were sampled by this label, or its positives weigh more, the model learns other odds than the
true ones. With negatives kept at rate r, positives repeated f times and weighed w times as much as negatives,

    odds that are learnt = true odds * f * w / r

whatever the features say, so one constant is taken off the logits: the prior correction of King and Zeng 2001 (Logistic
regression in rare events data, section 4.1), in terms of r as in He et al. 2014 (Practical lessons from predicting
clicks on ads at Facebook, section 6.3). Deviation: r and f are what was asked for, not the shares that were drawn.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor

from mtl_ray.metrics import Metric, binary_metrics
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks.class_weights import checked_weight
from mtl_ray.tasks.labels import numbers, refuse_first
from mtl_ray.tasks.task import Task, TaskSettings, at_least_float32


class BinaryTaskConfig(TaskSettings):
    """Label 0 or 1 (or boolean)."""

    type: Literal["binary"] = "binary"
    threshold: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Predicted probability from which accuracy, precision, recall and F1 count a row as positive."""
    positive_weight: float | Literal["balanced"] = 1.0
    """How much more a positive row weighs in the training loss than a negative one; balanced: negatives / positives
    of the rows that are trained on. The loss keeps its scale: the mean weight over those rows is 1."""
    calibrate: bool = True
    """Take positive_weight out of the predicted probabilities again, so that they are of the true rates. false: they
    are of the weighted ones. What sampling did to the rates is taken out in any case."""

    @field_validator("positive_weight", mode="before")
    @classmethod
    def _check_positive_weight(cls, value: Any) -> Any:
        return value if value == "balanced" else checked_weight(value)

    def encode_labels(self, values: pa.ChunkedArray, column: str) -> np.ndarray:
        allowed = "0, 1, false, true; NULL where not observed"
        numeric, missing = numbers(values, column, allowed)
        bad = ~missing & (numeric != 0.0) & (numeric != 1.0)
        refuse_first(bad, values, column, allowed, fix="correct the spine, or use type: regression for amounts")
        return np.where(missing, np.nan, numeric).astype(np.float32)

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
        self._learnt = sampled + weight
        self._shift = sampling + (weight if config.calibrate else 0.0)
        self._positive, self._negative = _mean_one(sampled, weight)

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        logit = at_least_float32(logits).squeeze(-1)
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
        return logits if self._shift == 0.0 else at_least_float32(logits) - self._shift

    def predict(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(at_least_float32(self.corrected(logits))).squeeze(-1)

    def initial_bias(self) -> Tensor:
        """The logit of the base rate after sampling and weights; a rate of 0 or 1 in n rows becomes half a row of the
        other kind in n + 1."""
        return torch.tensor([self._learnt], dtype=torch.float32)

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


def _mean_one(log_odds: float, log_weight: float) -> tuple[float, float]:
    """Weights of a positive and of a negative row in the ratio exp(log_weight), 1 on average at those odds."""
    positive = 1.0 / (1.0 + math.exp(-log_odds))
    weight = math.exp(log_weight)
    mean = positive * weight + (1.0 - positive)
    return weight / mean, 1.0 / mean


def _by_label(label: Tensor, positive: float, negative: float) -> Tensor:
    """`[B]` in the dtype of `label`."""
    return torch.full_like(label, negative).masked_fill(label > 0.5, positive)
