"""Rows and labels of every UTC day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from mtl_ray.data.contract.exact_sum import exact_sums
from mtl_ray.data.labels import Labels
from mtl_ray.data.splits import PARTS
from mtl_ray.schema import Settings
from mtl_ray.tasks import ClassTaskSettings, TaskConfig

_DAY = 86_400_000_000
"""Microseconds."""


class DayLabels(Settings):
    """One task's labels on one day."""

    observed: int = 0
    total: int = 0
    """Sum of the labels in units of `exact_sum`; 0 for classes."""
    classes: tuple[int, ...] = ()
    """Multiclass: rows by class."""

    def plus(self, other: DayLabels) -> DayLabels:
        pairs = zip(self.classes or (0,) * len(other.classes), other.classes or (0,) * len(self.classes), strict=True)
        return DayLabels(
            observed=self.observed + other.observed,
            total=self.total + other.total,
            classes=tuple(a + b for a, b in pairs),
        )


class LabelDays(Settings):
    """Counts by day; days (since 1970) rise."""

    rows: dict[int, tuple[int, ...]]
    """Day -> rows of each part."""
    tasks: dict[str, dict[int, DayLabels]]
    """Task -> day with rows -> labels."""

    @classmethod
    def of(
        cls, times: pa.ChunkedArray, parts: np.ndarray, labels: Labels, tasks: Mapping[str, TaskConfig]
    ) -> LabelDays:
        """`times`: timestamp[us, UTC] `[rows]` without nulls; `parts`: int8 `[rows]`, index into PARTS."""
        days, at = np.unique(times.cast(pa.int64()).to_numpy() // _DAY, return_inverse=True)
        rows = np.bincount(at * len(PARTS) + parts, minlength=days.size * len(PARTS)).reshape(-1, len(PARTS))
        names = [int(day) for day in days]
        return cls(
            rows={day: tuple(row) for day, row in zip(names, rows.tolist(), strict=True)},
            tasks={
                task: dict(zip(names, _by_day(config, labels, position, at, days.size), strict=True))
                for position, (task, config) in enumerate(tasks.items())
            },
        )

    @staticmethod
    def merged(parts: Iterable[LabelDays]) -> LabelDays:
        """The counts over all rows of `parts`."""
        rows: dict[int, tuple[int, ...]] = {}
        tasks: dict[str, dict[int, DayLabels]] = {}
        for part in parts:
            for day, counts in part.rows.items():
                before = rows.get(day, (0,) * len(PARTS))
                rows[day] = tuple(a + b for a, b in zip(before, counts, strict=True))
            for task, days in part.tasks.items():
                known = tasks.setdefault(task, {})
                for day, found in days.items():
                    known[day] = known[day].plus(found) if day in known else found
        return LabelDays(
            rows=dict(sorted(rows.items())), tasks={task: dict(sorted(days.items())) for task, days in tasks.items()}
        )


def _by_day(task: TaskConfig, labels: Labels, position: int, at: np.ndarray, days: int) -> list[DayLabels]:
    seen = labels.observed[:, position]
    at, values = at[seen], labels.values[seen, position]
    observed = np.bincount(at, minlength=days).tolist()
    if isinstance(task, ClassTaskSettings):
        size = len(task.classes)
        counts = np.bincount(at * size + values.astype(np.int64), minlength=days * size).reshape(days, size)
        return [DayLabels(observed=n, classes=tuple(row)) for n, row in zip(observed, counts.tolist(), strict=True)]
    return [DayLabels(observed=n, total=total) for n, total in zip(observed, exact_sums(values, at, days), strict=True)]
