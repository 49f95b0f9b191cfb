"""Multiclass tasks: which of C classes? C logits, softmax cross-entropy.

With class weights w the model learns probabilities in proportion to true probability * w, whatever the features say, so
log w is taken off the logits again: the prior correction of King and Zeng 2001 (Logistic regression in rare events
data, section 4.1), class by class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from pydantic import Field, StrictInt, StrictStr, field_validator, model_validator
from torch import Tensor

from mtl_ray.errors import DataError
from mtl_ray.metrics import Metric, multiclass_metrics
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks.class_weights import checked_weight
from mtl_ray.tasks.labels import decoded, is_text, nulls, numbers, refuse_first
from mtl_ray.tasks.task import Task, TaskSettings, at_least_float32


class MulticlassTaskConfig(TaskSettings):
    """Label is one of `classes`."""

    type: Literal["multiclass"] = "multiclass"
    classes: Annotated[tuple[StrictInt | StrictStr, ...], Field(min_length=2)]
    """The label's values in class order, all integers or all strings."""
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

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: tuple[int | str, ...]) -> tuple[int | str, ...]:
        if len({type(value) for value in classes}) > 1:
            raise ValueError(f"classes must be all integers or all strings, found {list(classes)}")
        repeated = sorted({str(value) for value in classes if classes.count(value) > 1})
        large = [value for value in classes if isinstance(value, int) and abs(value) >= 2**63]
        if large:
            raise ValueError(f"integer classes must fit into 64 bits, found {large[0]}")
        if repeated:
            raise ValueError(f"classes must differ from each other, found more than once: {', '.join(repeated)}")
        return classes

    def encode_labels(self, values: pa.ChunkedArray, column: str) -> np.ndarray:
        """The index of each label's class in `classes`."""
        values = decoded(values)
        allowed = f"one of {', '.join(map(repr, self.classes))}; NULL where not observed"
        missing = nulls(values)
        if isinstance(self.classes[0], str):
            index = _index_of_text(values, self.classes, column, allowed)
        else:
            index = _index_of_numbers(values, self.classes, column, allowed)
        fix = "correct the spine, or add the value to the task's classes"
        refuse_first(~missing & (index < 0), values, column, allowed, fix)
        return np.where(missing, np.nan, index).astype(np.float32)

    def build(self, name: str, statistics: LabelStatistics) -> MulticlassTask:
        return MulticlassTask(name, self, statistics)


class MulticlassTask(Task):
    """`C_t` = number of classes; predictions are probabilities `[B, C]`."""

    config: MulticlassTaskConfig

    def __init__(self, name: str, config: MulticlassTaskConfig, statistics: LabelStatistics) -> None:
        super().__init__(name, config)
        self.num_outputs = len(config.classes)
        counts = statistics.class_counts
        rows = torch.ones(self.num_outputs, dtype=torch.float64)
        if counts is not None and sum(counts) > 0:
            rows = torch.tensor(counts, dtype=torch.float64).clamp(min=0.5)
        rates = rows / rows.sum()
        weights = _weights(config, rates)
        self._learnt = torch.log(rates * weights / (rates * weights).sum())
        self._weights = (weights / (rates * weights).sum()).tolist()
        self._shift = torch.log(weights).tolist() if config.calibrate else [0.0] * self.num_outputs
        self._weighted = config.class_weights is not None

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(at_least_float32(logits), label.long(), reduction="none")

    def class_weight(self, label: Tensor) -> Tensor | None:
        if not self._weighted:
            return None
        return torch.tensor(self._weights, dtype=label.dtype, device=label.device)[label.long()]

    def corrected(self, logits: Tensor) -> Tensor:
        if not self._weighted:
            return logits
        logits = at_least_float32(logits)
        return logits - torch.tensor(self._shift, dtype=logits.dtype, device=logits.device)

    def predict(self, logits: Tensor) -> Tensor:
        return torch.softmax(at_least_float32(self.corrected(logits)), dim=-1)

    def initial_bias(self) -> Tensor:
        """Log class frequencies, weighted; a class without any row counts as half a row."""
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


def _index_of_text(values: pa.ChunkedArray, classes: Sequence[int | str], column: str, allowed: str) -> np.ndarray:
    """Class index int64 `[rows]`, -1 where the value is no class or NULL."""
    if not is_text(values):
        raise DataError(
            f"The label column {column!r} does not hold text, but the task's classes are strings.",
            where=f"column {column}",
            found=f"type {values.type}",
            allowed=allowed,
            fix="write the classes without quotes if they are integers, or cast the column in the spine",
        )
    index = pc.index_in(values.cast(pa.string()), value_set=pa.array(list(classes), pa.string()))
    found: np.ndarray = pc.fill_null(index, -1).to_numpy().astype(np.int64)
    return found


def _index_of_numbers(values: pa.ChunkedArray, classes: Sequence[int | str], column: str, allowed: str) -> np.ndarray:
    """Class index int64 `[rows]`, -1 where the value is no class, NaN or NULL."""
    numeric: np.ndarray
    numeric, _ = numbers(values, column, allowed)
    whole = pa.types.is_integer(values.type) and values.type != pa.uint64()
    if whole:
        # A float64 cannot tell integers above 2^53 from their neighbours.
        numeric = pc.fill_null(values.cast(pa.int64()), 0).to_numpy()
    known = np.array(classes, dtype=np.int64 if whole else np.float64)
    order = np.argsort(known)
    position = np.searchsorted(known[order], numeric).clip(max=len(known) - 1)
    nearest: np.ndarray = order[position]
    return np.where(known[nearest] == numeric, nearest, -1)
