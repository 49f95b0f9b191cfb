"""Regression tasks: how much? One output, squared error in (log, standardised) units."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from mtl_ray.metrics import Metric, regression_metrics
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks.labels import numbers, refuse_first
from mtl_ray.tasks.task import Task, TaskSettings, at_least_float32

_LARGEST = float(np.finfo(np.float32).max)
_LARGEST_LOG1P = 88.0
"""expm1 of more than 88.7 overflows float32."""


class RegressionTaskConfig(TaskSettings):
    """Label is a finite number; at least 0 with `transform: log1p`."""

    type: Literal["regression"] = "regression"
    transform: Literal["none", "log1p"] = "none"
    """log1p: learn log(1 + label), for amounts and durations with a long tail."""
    normalize: bool = True
    """Learn (transformed label - mean) / standard deviation of the training part, so that the task's loss has the
    scale of the others'."""

    def encode_labels(self, values: pa.ChunkedArray, column: str) -> np.ndarray:
        """Labels in their own units: the transform belongs to the loss."""
        at_least_zero = " >= 0 (transform: log1p)" if self.transform == "log1p" else ""
        allowed = f"a finite number{at_least_zero}; NULL where not observed"
        numeric, missing = numbers(values, column, allowed)
        bad = ~(np.abs(numeric) <= _LARGEST)
        if self.transform == "log1p":
            bad |= numeric < 0.0
        fix = "correct the spine, writing NULL where the label was not observed"
        refuse_first(~missing & bad, values, column, allowed, fix)
        return np.where(missing, np.nan, numeric).astype(np.float32)

    def build(self, name: str, statistics: LabelStatistics) -> RegressionTask:
        return RegressionTask(name, self, statistics)


class RegressionTask(Task):
    """`C_t` = 1; predictions `[B]` are in label units.

    With log1p the prediction is expm1 of the predicted mean of log(1 + label): nearer to the median than to the
    mean of a skewed label.
    """

    num_outputs = 1
    config: RegressionTaskConfig

    def __init__(self, name: str, config: RegressionTaskConfig, statistics: LabelStatistics) -> None:
        super().__init__(name, config)
        self._mean = statistics.transformed_mean or 0.0
        std = statistics.transformed_std or 0.0
        self._shift = self._mean if config.normalize else 0.0
        # A label that never varies has no scale of its own.
        self._scale = std if config.normalize and std > 0.0 else 1.0

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        output = at_least_float32(logits).squeeze(-1)
        target = label.to(output.dtype)
        if self.config.transform == "log1p":
            target = torch.log1p(target)
        return torch.square(output - (target - self._shift) / self._scale)

    def predict(self, logits: Tensor) -> Tensor:
        value = at_least_float32(logits).squeeze(-1) * self._scale + self._shift
        if self.config.transform == "log1p":
            value = torch.expm1(value.clamp(min=0.0, max=_LARGEST_LOG1P))
        return value

    def initial_bias(self) -> Tensor:
        """The mean of the transformed label, which is 0 where the task normalises it."""
        return torch.tensor([0.0 if self.config.normalize else self._mean], dtype=torch.float32)

    def metrics(self, grouped: bool) -> dict[str, Metric]:  # noqa: ARG002 - no metric of this type is grouped
        return regression_metrics(log1p=self.config.transform == "log1p")
