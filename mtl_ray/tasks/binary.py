"""Binary tasks: did it happen? One logit, binary cross-entropy."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mtl_ray.metrics import Metric, binary_metrics
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks.labels import numbers, refuse_first
from mtl_ray.tasks.task import Task, TaskSettings, at_least_float32


class BinaryTaskConfig(TaskSettings):
    """Label 0 or 1 (or boolean)."""

    type: Literal["binary"] = "binary"
    threshold: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Predicted probability from which accuracy, precision, recall and F1 count a row as positive."""

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
        self._statistics = statistics

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        logit = at_least_float32(logits).squeeze(-1)
        return F.binary_cross_entropy_with_logits(logit, label.to(logit.dtype), reduction="none")

    def predict(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(at_least_float32(logits)).squeeze(-1)

    def initial_bias(self) -> Tensor:
        """The logit of the base rate; a rate of 0 or 1 in n rows becomes half a row of the other kind in n + 1."""
        rate = self._statistics.mean
        if rate is None or self._statistics.observed == 0:
            return torch.zeros(1)
        margin = 0.5 / (self._statistics.observed + 1)
        rate = min(max(rate, margin), 1.0 - margin)
        return torch.tensor([math.log(rate) - math.log1p(-rate)], dtype=torch.float32)

    def metrics(self, grouped: bool) -> dict[str, Metric]:
        return binary_metrics(threshold=self.config.threshold, grouped=grouped)
