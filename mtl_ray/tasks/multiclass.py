"""Multiclass tasks: which of C classes? C logits, softmax cross-entropy.

With class weights w the model learns probabilities in proportion to true probability * w, whatever the features say, so
log w is taken off the logits again: the prior correction of King and Zeng 2001 (Logistic regression in rare events
data, section 4.1), class by class.

Label smoothing (Szegedy et al. 2016, Rethinking the Inception architecture, section 7, uniform u) trains with targets
(1 - s) * label + s / C. The probabilities are drawn towards 1 / C by it, and stay so: what it does is not undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from mtl_ray.metrics import Metric, multiclass_metrics
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks.class_weights import checked_weight
from mtl_ray.tasks.classes import ClassTaskSettings, class_rates
from mtl_ray.tasks.task import NO_INPUTS, Task, at_least_float32


class MulticlassTaskConfig(ClassTaskSettings):
    """Label is one of `classes`."""

    type: Literal["multiclass"] = "multiclass"
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of a training label that is spread evenly over all classes; validation is never smoothed."""
    class_weights: tuple[float, ...] | Literal["balanced"] | None = None
    """Weight of each class's rows in the training loss, in class order; balanced: inversely to the class's rows (a
    class without any counts as half a row); null: all alike. Only their ratios count: the loss keeps its scale, as the
    mean weight over the rows that are trained on is 1."""
    calibrate: bool = True
    """Take class_weights out of the predicted probabilities again, so that they are of the true rates; false: they are
    of the weighted ones."""

    @field_validator("class_weights", mode="before")
    @classmethod
    def _check_class_weights(cls, value: Any) -> Any:
        if value is None or value == "balanced":
            return value
        if not isinstance(value, list | tuple):
            raise ValueError(f"class_weights must be a list of numbers > 0, balanced or null, found {value!r}")
        return tuple(checked_weight(item) for item in value)

    @model_validator(mode="after")
    def _one_weight_a_class(self) -> MulticlassTaskConfig:
        weights = self.class_weights
        if isinstance(weights, tuple) and len(weights) != len(self.classes):
            raise ValueError(
                f"class_weights must give one weight a class: found {len(weights)} for {len(self.classes)} classes"
            )
        return self

    def build(self, name: str, statistics: LabelStatistics) -> MulticlassTask:
        return MulticlassTask(name, self, statistics)


class MulticlassTask(Task):
    """`C_t` = number of classes; predictions are probabilities `[B, C]`."""

    config: MulticlassTaskConfig

    def __init__(self, name: str, config: MulticlassTaskConfig, statistics: LabelStatistics) -> None:
        super().__init__(name, config)
        self.num_outputs = len(config.classes)
        rates = class_rates(statistics, self.num_outputs)
        weights = _weights(config, rates)
        weighted = rates * weights / (rates * weights).sum()
        smoothing = config.label_smoothing
        self._learnt = torch.log((1.0 - smoothing) * weighted + smoothing / self.num_outputs)
        self._weights = (weights / (rates * weights).sum()).tolist()
        self._shift = torch.log(weights).tolist() if config.calibrate else [0.0] * self.num_outputs
        self._weighted = config.class_weights is not None

    def loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:  # noqa: ARG002
        logits = at_least_float32(logits)
        return F.cross_entropy(logits, label.long(), reduction="none", label_smoothing=self.config.label_smoothing)

    def held_out_loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:  # noqa: ARG002
        """Cross-entropy without smoothing."""
        return F.cross_entropy(at_least_float32(self.corrected(logits)), label.long(), reduction="none")

    def class_weight(self, label: Tensor) -> Tensor | None:
        if not self._weighted:
            return None
        return torch.tensor(self._weights, dtype=label.dtype, device=label.device)[label.long()]

    def corrected(self, logits: Tensor) -> Tensor:
        if not self._weighted:
            return logits
        logits = at_least_float32(logits)
        return logits - torch.tensor(self._shift, dtype=logits.dtype, device=logits.device)

    def predict(self, logits: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:  # noqa: ARG002
        return torch.softmax(at_least_float32(self.corrected(logits)), dim=-1)

    def initial_bias(self) -> Tensor:
        """Log class frequencies, weighted and smoothed; a class without any row counts as half a row."""
        return self._learnt.to(torch.float32)

    def metrics(self, grouped: bool) -> dict[str, Metric]:  # noqa: ARG002 - no metric of this type is grouped
        return multiclass_metrics(num_classes=self.num_outputs)


def _weights(config: MulticlassTaskConfig, rates: Tensor) -> Tensor:
    """float64 `[C]`."""
    if config.class_weights is None:
        return torch.ones_like(rates)
    if config.class_weights == "balanced":
        return 1.0 / rates
    return torch.tensor(config.class_weights, dtype=torch.float64)
