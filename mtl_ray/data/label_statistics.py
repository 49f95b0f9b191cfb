"""What the labels of the training part say about a task, from how often each value occurs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mtl_ray.data.distributions import NumberDistribution
from mtl_ray.schema import DurationGroups, LabelStatistics
from mtl_ray.tasks import ClassTaskSettings, RegressionTaskConfig, TaskConfig, ValueTaskConfig, WatchTimeTaskConfig
from mtl_ray.tasks.size_grid import EDGES, MISSING_CELL, middle

REGRESSION_RANKS = 101
WATCH_TIME_RANKS = 201


def label_statistics(task: TaskConfig, values: np.ndarray, cells: np.ndarray, counts: np.ndarray) -> LabelStatistics:
    """Of labels given as distinct pairs of `values` float64 `[d]`, in any order, and `cells` of the size grid, int16
    `[d]`, with `counts` int64 `[d]`."""
    observed = int(counts.sum())
    if isinstance(task, ClassTaskSettings):
        by_class = np.bincount(values.astype(np.int64), weights=counts, minlength=len(task.classes))
        return LabelStatistics(observed=observed, class_counts=tuple(by_class.astype(np.int64).tolist()))
    if observed == 0:
        return LabelStatistics(observed=0)
    distribution = _distribution(values, counts)
    mean, _ = distribution.moments()
    found = LabelStatistics(observed=observed, mean=mean)
    if isinstance(task, RegressionTaskConfig):
        changes = _regression(task, distribution, cells, counts)
    elif isinstance(task, ValueTaskConfig):
        changes = _value(distribution)
    elif isinstance(task, WatchTimeTaskConfig):
        groups = duration_groups(task.groups, values, cells, counts)
        changes = {**_moments(distribution, np.log1p), "duration_groups": groups}
    else:
        changes = {}
    return found.model_copy(update=changes)


def duration_groups(groups: int, values: np.ndarray, cells: np.ndarray, counts: np.ndarray) -> DurationGroups:
    """Groups of as equal size as cells of the grid allow, and the labels' quantiles in each; arguments as above.

    Where a single cell holds more rows than a group, there are fewer groups. Rows without a duration are in none.
    """
    known = cells != MISSING_CELL
    rows_of_cell = np.bincount(cells[known], weights=counts[known], minlength=1)
    up_to = rows_of_cell.cumsum()
    # The last cell of group g is the first one up to which there are g / groups of the rows.
    wanted = up_to[-1] * np.arange(1, groups) / groups
    last = np.unique(np.searchsorted(up_to, wanted, side="left")) if known.any() else np.zeros(0, dtype=np.int64)
    last = last[up_to[last] < up_to[-1]]
    group = np.searchsorted(last, cells, side="left")
    parts = [known & (group == number) for number in range(len(last) + 1)] if known.any() else []
    quantiles = [
        _distribution(values[chosen], counts[chosen]).quantiles(np.linspace(0.0, 1.0, WATCH_TIME_RANKS))
        for chosen in [*parts, np.ones(len(values), dtype=bool)]
    ]
    return DurationGroups(
        edges=tuple(EDGES[last].astype(np.float64).tolist()),
        quantiles=tuple(tuple(line.tolist()) for line in quantiles),
    )


def _regression(
    task: RegressionTaskConfig, distribution: NumberDistribution, cells: np.ndarray, counts: np.ndarray
) -> dict[str, object]:
    found = _moments(distribution, np.log1p if task.transform == "log1p" else None)
    found["quantiles"] = tuple(distribution.quantiles(np.linspace(0.0, 1.0, REGRESSION_RANKS)).tolist())
    known = cells != MISSING_CELL
    if task.offset is not None and known.any():
        exposure = NumberDistribution(middle(cells[known]), middle(cells[known]), counts[known], missing=0)
        found["mean_input"], _ = exposure.moments()
    return found


def _value(distribution: NumberDistribution) -> dict[str, object]:
    found = _moments(distribution, np.log1p)
    above = distribution.low > 0.0
    values, counts = distribution.low[above], distribution.counts[above]
    found["positive"] = int(counts.sum())
    if counts.size:
        found["log_mean"], found["log_std"] = NumberDistribution(values, values, counts, missing=0).moments(np.log)
    return found


def _moments(
    distribution: NumberDistribution, transform: Callable[[np.ndarray], np.ndarray] | None
) -> dict[str, object]:
    mean, std = distribution.moments(transform)
    return {"transformed_mean": mean, "transformed_std": std}


def _distribution(values: np.ndarray, counts: np.ndarray) -> NumberDistribution:
    distinct, place = np.unique(values, return_inverse=True)
    rows = np.bincount(place, weights=counts, minlength=distinct.size).astype(np.int64)
    return NumberDistribution(distinct, distinct, rows, missing=0)
