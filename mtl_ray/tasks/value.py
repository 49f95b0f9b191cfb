"""Value tasks: how much, where most rows are worth nothing and the others vary over orders of magnitude?

Source: ZILN, the zero-inflated lognormal loss of Wang, Liu and Miao 2019 (A deep probabilistic model for customer
lifetime value prediction), equation 5. Three outputs, p, mu and s, say

    P(label > 0) = sigmoid(p),   log(label) given label > 0 is normal with mean mu and deviation sigma = softplus(s)

The loss is the negative log likelihood, of the lognormal density in label units; the prediction is the mean,
sigmoid(p) * exp(mu + sigma^2 / 2). Deviations: sigma is at least 0.01 (their code: 0.0003), and in the prediction
mu + sigma^2 / 2 is at most 88, where float32 ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor

from mtl_ray.metrics import Metric, value_metrics
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks.labels import amounts
from mtl_ray.tasks.regression import LARGEST_EXPONENT
from mtl_ray.tasks.task import NO_INPUTS, Task, TaskSettings, at_least_float32

SMALLEST_DEVIATION = 0.01
_LOG_ROOT_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class ValueTaskConfig(TaskSettings):
    """Label is a finite number >= 0."""

    type: Literal["value"] = "value"

    @property
    def loss_may_be_negative(self) -> bool:
        return True

    def encode_labels(self, values: pa.ChunkedArray, column: str) -> np.ndarray:
        return amounts(values, column)

    def build(self, name: str, statistics: LabelStatistics) -> ValueTask:
        return ValueTask(name, self, statistics)


class ValueTask(Task):
    """`C_t` = 3; predictions `[B]` are means, in label units."""

    num_outputs = 3
    config: ValueTaskConfig

    def __init__(self, name: str, config: ValueTaskConfig, statistics: LabelStatistics) -> None:
        super().__init__(name, config)
        self._statistics = statistics

    def loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:  # noqa: ARG002
        logits = at_least_float32(logits)
        occurs, mean, sigma = logits[:, 0], logits[:, 1], _deviation(logits[:, 2])
        amount = label.to(logits.dtype)
        some = amount > 0.0
        happened = F.binary_cross_entropy_with_logits(occurs, some.to(logits.dtype), reduction="none")
        # The 0s go through the other branch with a gradient that `where` multiplies by 0: it must be finite.
        log_amount = torch.log(torch.where(some, amount, 1.0))
        distance = (log_amount - mean) / sigma
        density = log_amount + torch.log(sigma) + _LOG_ROOT_TWO_PI + 0.5 * distance.square()
        return happened + torch.where(some, density, 0.0)

    def predict(self, logits: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:  # noqa: ARG002
        logits = at_least_float32(logits)
        exponent = logits[:, 1] + 0.5 * _deviation(logits[:, 2]).square()
        return torch.sigmoid(logits[:, 0]) * torch.exp(exponent.clamp(max=LARGEST_EXPONENT))

    def initial_bias(self) -> Tensor:
        """The most likely outputs for all rows of the training part; no or only labels above 0 count as half a row of
        the other kind in n + 1."""
        found = self._statistics
        occurs = 0.0
        if found.observed > 0 and found.positive is not None:
            margin = 0.5 / (found.observed + 1)
            share = min(max(found.positive / found.observed, margin), 1.0 - margin)
            occurs = math.log(share) - math.log1p(-share)
        sigma = max(found.log_std or 0.0, 2.0 * SMALLEST_DEVIATION) if found.positive else 1.0
        return torch.tensor([occurs, found.log_mean or 0.0, math.log(math.expm1(sigma))], dtype=torch.float32)

    def metrics(self, grouped: bool) -> dict[str, Metric]:  # noqa: ARG002 - no metric of this type is grouped
        return value_metrics()


def _deviation(output: Tensor) -> Tensor:
    return F.softplus(output).clamp(min=SMALLEST_DEVIATION)
