"""What every metric is: a state that is updated with rows, merged with the states of other shards, and read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mtl_ray.errors import MtlRayError

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

Resampler = Callable[[FloatArray], dict[str, FloatArray]]
"""Multiplicity of every resampling unit in K replicates, `[K, U]` -> each value of the metric in them, `[K]`."""


@dataclass(frozen=True)
class Rows:
    """n checked rows of one task, all of positive weight."""

    prediction: FloatArray
    """`[n]`, or `[n, C]` for classes; finite."""
    label: FloatArray
    """`[n]`, finite; a class index for classes."""
    weight: FloatArray
    """`[n]`, positive: how often the row counts, not necessarily a whole number."""
    group: Array | None
    """`[n]`, int64 or strings: the key of the ranking that the row belongs to, usually its user."""
    epsilon: float
    """Machine epsilon of the dtype in which the predictions came (scikit-learn's clipping rule for log loss)."""

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def checked(cls, prediction: Array, label: Array, weight: Array | None, group: Array | None) -> Rows:
        """The rows without those of zero weight, which count nowhere.

        Raises ValueError for shapes or values that no metric can use, and MtlRayError for a prediction that is not
        finite (a model that diverged).
        """
        prediction, label = np.asarray(prediction), np.asarray(label)
        if label.ndim != 1 or prediction.ndim not in (1, 2) or len(prediction) != len(label):
            raise ValueError(f"prediction {prediction.shape} and label {label.shape} are not [n] or [n, C] and [n]")
        floating = np.issubdtype(prediction.dtype, np.floating)
        epsilon = float(np.finfo(prediction.dtype if floating else np.float64).eps)
        values = prediction.astype(np.float64)
        labels = label.astype(np.float64)
        keys = None if group is None else _group_keys(np.asarray(group), len(labels))
        if weight is None:
            weights = np.ones(len(labels))
        else:
            weights = np.asarray(weight).astype(np.float64)
            if weights.shape != labels.shape:
                raise ValueError(f"weight has shape {weights.shape}, the label {labels.shape}")
            if not (np.isfinite(weights).all() and (weights >= 0).all()):
                raise ValueError("a weight is negative or not finite")
        rows = cls(values, labels, weights, keys, epsilon)._counted()
        if not np.isfinite(rows.label).all():
            raise ValueError("a label is not finite: leave unobserved rows out, or give them weight 0")
        if not np.isfinite(rows.prediction).all():
            bad = int((~np.isfinite(rows.prediction)).reshape(len(rows), -1).any(axis=1).sum())
            raise MtlRayError(f"The model's prediction is not finite in {bad} of {len(rows)} rows.")
        return rows

    def times(self, factor: FloatArray) -> Rows:
        """The rows with their weight multiplied by `factor [n]`, non-negative."""
        return replace(self, weight=self.weight * factor)._counted()

    def _counted(self) -> Rows:
        counted = self.weight > 0
        if counted.all():
            return self
        group = None if self.group is None else self.group[counted]
        return Rows(self.prediction[counted], self.label[counted], self.weight[counted], group, self.epsilon)


@dataclass(frozen=True)
class Units:
    """What a bootstrap draws: whole groups of rows, or single rows."""

    of_row: IntArray
    """Which unit each row belongs to, `[n]`."""
    total: int
    """Number of units, U."""


def _group_keys(group: Array, rows: int) -> Array:
    if group.shape != (rows,):
        raise ValueError(f"group has shape {group.shape}, the label [{rows}]")
    if group.dtype.kind in "iub":
        return group.astype(np.int64)
    if group.dtype.kind == "U":
        return group
    if group.dtype.kind == "O" and all(isinstance(key, str) for key in group):
        return group.astype(str)
    raise ValueError(f"group keys are integers or strings without nulls, not {group.dtype}")


class Metric(ABC):
    """A mergeable metric: after any partition of the rows in shards, `merge` gives the value over all of them.

    Exact means: no sampling and no binning beyond what the metric's definition has; what remains is the rounding
    of float64 sums. A weight is a multiplicity: a row of weight 2 counts as two equal rows, and one of weight 0 is
    absent. States are picklable, so they travel between Ray workers.
    """

    def update(self, prediction: Array, label: Array, weight: Array | None = None, group: Array | None = None) -> None:
        """Counts n rows in.

        `prediction [n]` (probability, or a number in the label's units) or `[n, C]` (class probabilities),
        `label [n]` (0 or 1, a number, or a class index), `weight [n]` non-negative (default 1), `group [n]`
        integers or strings. Raises as `Rows.checked`.
        """
        self._update(Rows.checked(prediction, label, weight, group))

    def merge(self, other: Metric) -> None:
        """Counts the rows of `other`, which stays as it is, in. Raises ValueError for another kind of metric."""
        if type(other) is not type(self) or other.settings() != self.settings():
            raise ValueError(
                f"cannot merge {type(other).__name__}{other.settings()} into {type(self).__name__}{self.settings()}"
            )
        self._merge(other)

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Each value by its name, always the same names; NaN where the rows so far do not define it."""

    def empty(self) -> Self:
        """A new metric of the same settings without rows."""
        return type(self)(*self.settings())

    def settings(self) -> tuple[Any, ...]:
        """The arguments of the constructor; metrics merge only when these are equal."""
        return ()

    def resampler(self, rows: Rows, units: Units) -> Resampler:
        """The metric over `rows` as a function of how often each resampling unit was drawn (bootstrap).

        This is the definition, a fresh metric for each replicate; metrics override it with something faster that
        gives the same values.
        """

        def resample(counts: FloatArray) -> dict[str, FloatArray]:
            replicates = []
            for count in counts:
                metric = self.empty()
                metric._update(rows.times(count[units.of_row]))
                replicates.append(metric.compute())
            return {name: np.array([values[name] for values in replicates]) for name in self.compute()}

        return resample

    @abstractmethod
    def _update(self, rows: Rows) -> None: ...

    @abstractmethod
    def _merge(self, other: Any) -> None: ...
