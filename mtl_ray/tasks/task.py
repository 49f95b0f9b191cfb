"""What every task type has: a config leaf that reads labels, and a task that turns logits into losses and more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field, field_validator
from torch import Tensor

from mtl_ray.metrics import Metric
from mtl_ray.schema import LabelStatistics, Settings
from mtl_ray.tasks.inputs import check_weight

NO_INPUTS: Mapping[str, Tensor] = MappingProxyType({})
"""For tasks that read nothing beside their labels."""


class TaskSettings(Settings, ABC):
    """Config fields of every task type; `type` is added by each of them and chooses it."""

    label: str | None = None
    """Column of the spine; the task's own name where not given."""
    weight: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    """Task weight in the total loss."""
    sample_weight: str | None = None
    """Column of the spine, or raw feature, whose number >= 0 multiplies a row's weight in this task's losses, of
    training and validation alike; as training_set.sample_weight, it does not count in metrics."""
    observed_when: str | None = None
    """Name of another task: this label counts only in rows where that task's label is observed and non-zero."""
    given: tuple[str, ...] = ()
    """Task or tasks that this one needs: its label can be 1 only where theirs are, as a purchase needs a click. It is
    the task graph of the architectures that follow one (esmm, escm2, aitm, dbmtl; hierarchical and home take their
    defaults from it), any acyclic one; with the others it has no effect, which they warn of. Neither labels nor the
    rows that count depend on it: for that, see `observed_when`."""

    @field_validator("given", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else () if value is None else value

    @property
    def loss_may_be_negative(self) -> bool:
        """Whether a row's loss has no lower limit of 0, as that of a density has not."""
        return False

    def label_column(self, name: str) -> str:
        """Column of the spine that holds the label of the task called `name`."""
        return name if self.label is None else self.label

    def input_columns(self) -> tuple[str, ...]:
        """Columns of the spine, or raw features, that the task reads beside its label: the keys of `inputs`."""
        return tuple(dict.fromkeys(column for column in (self.sample_weight, *self.prediction_columns()) if column))

    def prediction_columns(self) -> tuple[str, ...]:
        """Those of `input_columns` that a prediction needs too."""
        return ()

    def statistics_input(self) -> str | None:
        """The one of `input_columns` by whose size the label statistics are told apart; None: by none."""
        return None

    def statistics_sizes(self, values: np.ndarray) -> np.ndarray:
        """The sizes, above 0, that `values` of `statistics_input` stand for, float `[rows]`; NaN where missing."""
        return values

    def check_inputs(self, column: str, values: np.ndarray, observed: np.ndarray) -> None:
        """Raise `DataError` where an input cannot be used.

        Args:
            column: one of `input_columns`.
            values: float `[rows]`, NaN where missing.
            observed: bool `[rows]`; where the label is not observed, any value will do.
        """
        if column == self.sample_weight:
            check_weight(column, values, observed)

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
    observed, inputs `[B]` each by column, NaN where missing (`Batch.task_inputs`). Logits of less than 32 bits
    (autocast) are computed on in float32, float64 stays float64.
    """

    num_outputs: int
    config: TaskSettings

    def __init__(self, name: str, config: TaskSettings) -> None:
        self.name = name
        self.config = config

    @abstractmethod
    def loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:
        """Training loss of each row `[B]`, not reduced, masked, weighted or corrected; finite for every label that
        `encode_labels` admits and for the 0 that stands for a label that is not observed, whatever the inputs."""

    def held_out_loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:
        """Loss `[B]` of rows that are not trained on: of the logits that predict."""
        return self.loss(self.corrected(logits), label, inputs)

    def row_weight(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """The task's own `sample_weight` of each row `[B]`, NaN where missing; None where all weigh 1."""
        column = self.config.sample_weight
        return None if column is None else inputs[column]

    def counted(self, label: Tensor) -> Tensor | None:  # noqa: ARG002 - most losses are of every observed row
        """Which of the observed rows the losses are means over, bool `[B]`; None: all of them."""
        return None

    def class_weight(self, label: Tensor) -> Tensor | None:  # noqa: ARG002 - types without classes weigh rows alike
        """Weight of each row in the training loss for its class, `[B]`, 1 on average over the observed rows
        that are trained on; None where all weigh 1. Defined, and to be ignored, where not observed."""
        return None

    def copies(self, label: Tensor, observed: Tensor) -> Tensor | None:  # noqa: ARG002 - only binary labels are sampled
        """How often, on average, sampling by this task's label has left a training row to train on: `[B]`,
        above 0, from this task's `label` and `observed` `[B]`; None where it has sampled nothing."""
        return None

    def corrected(self, logits: Tensor) -> Tensor:
        """The logits that predict: with what sampling and class weights did to the rates taken out of those trained."""
        return logits

    @abstractmethod
    def predict(self, logits: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:
        """Predictions in label units from the model's logits, which it corrects: `[B]` or `[B, C]`, see the type.

        Raises KeyError where `inputs` lacks one of the config's `prediction_columns`.
        """

    @abstractmethod
    def initial_bias(self) -> Tensor:
        """Bias of the head `[C_t]`, float32: logits of 0 + bias fit the labels that are trained on (sampled, weighted)
        on average, and so, corrected, those of the training part. Finite without any label."""

    @abstractmethod
    def metrics(self, grouped: bool) -> dict[str, Metric]:
        """New, empty streaming metrics for validation; `grouped`: groups will be given to `update`."""


def at_least_float32(logits: Tensor) -> Tensor:
    """`logits` in float32 if they have fewer bits: a loss in bfloat16 has two to three digits."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
