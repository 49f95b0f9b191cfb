"""Regression tasks: how much? One output.

With a log link the model is that of a generalised linear one, mean = exp(output + offset), the offset being what is
known of the scale beforehand, such as the logarithm of an exposure (McCullagh and Nelder 1989, chapter 6).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import torch
from pydantic import field_validator, model_validator
from torch import Tensor

from mtl_ray.metrics import Metric, regression_metrics
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks.inputs import check_finite
from mtl_ray.tasks.labels import numbers, refuse_first
from mtl_ray.tasks.regression_losses import (
    HuberLoss,
    PoissonLoss,
    QuantileLoss,
    RegressionLoss,
    SquaredLoss,
    TweedieLoss,
)
from mtl_ray.tasks.task import NO_INPUTS, Task, TaskSettings, at_least_float32

_LARGEST = float(np.finfo(np.float32).max)
LARGEST_EXPONENT = 88.0
"""exp of more than 88.7 overflows float32."""


class RegressionTaskConfig(TaskSettings):
    """Label is a finite number; at least 0 with `transform: log1p` and with the losses poisson and tweedie."""

    type: Literal["regression"] = "regression"
    loss: RegressionLoss = SquaredLoss()
    """squared, absolute, {name: huber, delta}, {name: quantile, level}, poisson, {name: tweedie, power}."""
    transform: Literal["none", "log1p"] = "none"
    """log1p: learn log(1 + label), for amounts and durations with a long tail."""
    normalize: bool | None = None
    """Learn (transformed label - mean) / standard deviation of the training part, so that the task's loss has the
    scale of the others'. null: true, but with poisson and tweedie, which know no such thing."""
    offset: str | None = None
    """With poisson and tweedie: column of the spine, or raw feature, that is added to the log of the mean, such as the
    logarithm of an exposure. Predictions need it too."""

    @field_validator("loss", mode="before")
    @classmethod
    def _loss_by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_the_link(self) -> Self:
        if self.log_link and self.transform != "none":
            raise ValueError(
                f"loss {self.loss.name} predicts the logarithm of the mean already; remove transform: {self.transform}"
            )
        if self.log_link and self.normalize:
            raise ValueError(f"loss {self.loss.name} learns the label as it is; remove normalize: true")
        if not self.log_link and self.offset is not None:
            raise ValueError(
                f"offset goes with the losses poisson and tweedie, not with {self.loss.name}; remove it, or change loss"
            )
        return self

    @property
    def log_link(self) -> bool:
        """Whether the output is the logarithm of the mean."""
        return isinstance(self.loss, PoissonLoss | TweedieLoss)

    @property
    def loss_may_be_negative(self) -> bool:
        return isinstance(self.loss, PoissonLoss)

    @property
    def level(self) -> float | None:
        """Which quantile is predicted; None where it is another measure of the label's centre."""
        return self.loss.level if isinstance(self.loss, QuantileLoss) else None

    @property
    def normalised(self) -> bool:
        """`normalize`, null resolved."""
        return not self.log_link and self.normalize is not False

    def prediction_columns(self) -> tuple[str, ...]:
        return () if self.offset is None else (self.offset,)

    def statistics_input(self) -> str | None:
        return self.offset

    def statistics_sizes(self, values: np.ndarray) -> np.ndarray:
        """The exposure."""
        return np.exp(np.clip(values, -LARGEST_EXPONENT, LARGEST_EXPONENT))

    def check_inputs(self, column: str, values: np.ndarray, observed: np.ndarray) -> None:
        super().check_inputs(column, values, observed)
        if column == self.offset:
            check_finite(column, values, observed, "offset")

    def encode_labels(self, values: pa.ChunkedArray, column: str) -> np.ndarray:
        """Labels in their own units: the transform belongs to the loss."""
        at_least_zero = self.transform == "log1p" or self.log_link
        reason = "transform: log1p" if self.transform == "log1p" else f"loss: {self.loss.name}"
        allowed = f"a finite number{f' >= 0 ({reason})' if at_least_zero else ''}; NULL where not observed"
        numeric, missing = numbers(values, column, allowed)
        bad = ~(np.abs(numeric) <= _LARGEST)
        if at_least_zero:
            bad |= numeric < 0.0
        fix = "correct the spine, writing NULL where the label was not observed"
        refuse_first(~missing & bad, values, column, allowed, fix)
        return np.where(missing, np.nan, numeric).astype(np.float32)

    def build(self, name: str, statistics: LabelStatistics) -> RegressionTask:
        return RegressionTask(name, self, statistics)


class RegressionTask(Task):
    """`C_t` = 1; predictions `[B]` are in label units.

    With log1p and the squared loss the prediction is expm1 of the predicted mean of log(1 + label): nearer to the
    median than to the mean of a skewed label.
    """

    num_outputs = 1
    config: RegressionTaskConfig

    def __init__(self, name: str, config: RegressionTaskConfig, statistics: LabelStatistics) -> None:
        super().__init__(name, config)
        self._mean = statistics.transformed_mean or 0.0
        std = statistics.transformed_std or 0.0
        self._shift = self._mean if config.normalised else 0.0
        # A label that never varies has no scale of its own.
        self._scale = std if config.normalised and std > 0.0 else 1.0
        self._learnt = _log_mean(statistics) if config.log_link else self._centre(statistics)

    def loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:
        output = at_least_float32(logits).squeeze(-1)
        target = label.to(output.dtype)
        if self.config.log_link:
            return self.config.loss.rows(output + self._offset(inputs, output), target)
        if self.config.transform == "log1p":
            target = torch.log1p(target)
        return self.config.loss.rows(output, (target - self._shift) / self._scale)

    def predict(self, logits: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:
        output = at_least_float32(logits).squeeze(-1)
        if self.config.log_link:
            return torch.exp((output + self._offset(inputs, output)).clamp(max=LARGEST_EXPONENT))
        value = output * self._scale + self._shift
        if self.config.transform == "log1p":
            value = torch.expm1(value.clamp(min=0.0, max=LARGEST_EXPONENT))
        return value

    def initial_bias(self) -> Tensor:
        """The output of which the loss is lowest for the training part: its mean, median or other quantile, or log
        mean (over the mean exposure), in learnt units."""
        return torch.tensor([self._learnt], dtype=torch.float32)

    def metrics(self, grouped: bool) -> dict[str, Metric]:  # noqa: ARG002 - no metric of this type is grouped
        return regression_metrics(log1p=self.config.transform == "log1p", level=self.config.level)

    def _offset(self, inputs: Mapping[str, Tensor], output: Tensor) -> Tensor:
        """`[B]`, or 0 without one; 0 where missing, which is never where a label is observed."""
        if self.config.offset is None:
            return output.new_zeros(())
        return torch.nan_to_num(inputs[self.config.offset].to(output.dtype), nan=0.0, posinf=0.0, neginf=0.0)

    def _centre(self, statistics: LabelStatistics) -> float:
        loss = self.config.loss
        quantiles = statistics.quantiles
        if isinstance(loss, SquaredLoss) or not quantiles:
            return (self._mean - self._shift) / self._scale
        values = np.log1p(quantiles) if self.config.transform == "log1p" else np.asarray(quantiles)
        learnt = (values - self._shift) / self._scale
        if isinstance(loss, HuberLoss):
            return _huber_centre(learnt, loss.delta)
        level = 0.5 if self.config.level is None else self.config.level
        return float(np.interp(level, np.linspace(0.0, 1.0, len(learnt)), learnt))


def _log_mean(statistics: LabelStatistics) -> float:
    """Of the label over its mean exposure; labels of 0 alone count as one half in n + 1 rows, 0 without any label."""
    if statistics.mean is None or statistics.observed == 0:
        return 0.0
    mean = max(statistics.mean, 0.5 / (statistics.observed + 1))
    return math.log(mean) - math.log(statistics.mean_input or 1.0)


def _huber_centre(values: np.ndarray, delta: float) -> float:
    """Where the mean Huber loss over `values` is lowest, by bisection of its gradient, which is monotone."""
    low, high = float(values.min()), float(values.max())
    for _ in range(60):
        middle = 0.5 * (low + high)
        if np.clip(values - middle, -delta, delta).sum() > 0.0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
