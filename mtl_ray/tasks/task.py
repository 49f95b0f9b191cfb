"""What every task type has: a config leaf that reads labels, and a task that turns logits into losses and more."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field
from torch import Tensor

from mtl_ray.metrics import Metric
from mtl_ray.schema import LabelStatistics, Settings


class TaskSettings(Settings, ABC):
    """Config fields of every task type; `type` is added by each of them and chooses it."""

    label: str | None = None
    """Column of the spine; the task's own name where not given."""
    weight: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    """Task weight in the total loss."""
    observed_when: str | None = None
    """Name of another task: this label counts only in rows where that task's label is observed and non-zero."""

    def label_column(self, name: str) -> str:
        """Column of the spine that holds the label of the task called `name`."""
        return name if self.label is None else self.label

    @abstractmethod
    def encode_labels(self, values: pa.ChunkedArray, column: str) -> np.ndarray:
        """Labels as float32 `[rows]`, NaN where NULL (not observed).

        Raises `DataError` with `column`, the first value that is not allowed and its row.
        """

    @abstractmethod
    def build(self, name: str, statistics: LabelStatistics) -> Task:
        """The task called `name`, with the label statistics of the training part."""


class Task(ABC):
    """One label with its type. Holds no parameters: those are the model's.

    Shapes: logits `[B, C_t]` with `C_t = num_outputs`, label `[B]` as `encode_labels` gives it with 0 where not
    observed. Logits of less than 32 bits (autocast) are computed on in float32, float64 stays float64.
    """

    num_outputs: int
    config: TaskSettings

    def __init__(self, name: str, config: TaskSettings) -> None:
        self.name = name
        self.config = config

    @abstractmethod
    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Loss of each row `[B]`, not reduced and not masked; finite for every label that `encode_labels` admits
        and for the 0 that stands for a label that is not observed."""

    @abstractmethod
    def predict(self, logits: Tensor) -> Tensor:
        """Predictions in label units, `[B]` or `[B, C]`: see the task type."""

    @abstractmethod
    def initial_bias(self) -> Tensor:
        """Bias of the head `[C_t]`, float32, with which logits of 0 + bias predict the training part's labels on
        average; finite without any label."""

    @abstractmethod
    def metrics(self, grouped: bool) -> dict[str, Metric]:
        """New, empty streaming metrics for validation; `grouped`: groups will be given to `update`."""


def at_least_float32(logits: Tensor) -> Tensor:
    """`logits` in float32 if they have fewer bits: a loss in bfloat16 has two to three digits."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
