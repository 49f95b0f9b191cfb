"""Labels that are one of C classes: what multiclass and ordinal tasks share."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from pydantic import Field, StrictInt, StrictStr, field_validator
from torch import Tensor

from mtl_ray.errors import DataError
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks.labels import decoded, is_text, nulls, numbers, refuse_first
from mtl_ray.tasks.task import TaskSettings


class ClassTaskSettings(TaskSettings, ABC):
    """Label is one of `classes`; predictions are class probabilities `[B, C]`."""

    classes: Annotated[tuple[StrictInt | StrictStr, ...], Field(min_length=2)]
    """The label's values in class order, all integers or all strings."""

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


def class_rates(statistics: LabelStatistics, classes: int) -> Tensor:
    """Share of each class in the training part, float64 `[C]`, above 0: a class without any row counts as half a row,
    and without any row all are alike."""
    counts = statistics.class_counts
    rows = torch.ones(classes, dtype=torch.float64)
    if counts is not None and sum(counts) > 0:
        rows = torch.tensor(counts, dtype=torch.float64).clamp(min=0.5)
    return rows / rows.sum()


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
