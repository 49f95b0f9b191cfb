"""Several metrics of one task, updated and merged together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from mtl_ray.metrics.metric import FloatArray, Metric, Resampler, Rows, Units


class MetricSet(Metric):
    """Metrics by name, used as one; `compute` has the values of all of them under their own names."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._metrics = dict(metrics)
        names = [name for metric in self._metrics.values() for name in metric.compute()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"more than one metric of the set gives {', '.join(twice)}")

    def settings(self) -> tuple[Any, ...]:
        return tuple((name, type(metric).__name__, metric.settings()) for name, metric in self._metrics.items())

    def empty(self) -> Self:
        return type(self)({name: metric.empty() for name, metric in self._metrics.items()})

    def compute(self) -> dict[str, float]:
        return {name: value for metric in self._metrics.values() for name, value in metric.compute().items()}

    def resampler(self, rows: Rows, units: Units) -> Resampler:
        parts = [metric.resampler(rows, units) for metric in self._metrics.values()]

        def resample(counts: FloatArray) -> dict[str, FloatArray]:
            return {name: values for part in parts for name, values in part(counts).items()}

        return resample

    def _update(self, rows: Rows) -> None:
        for metric in self._metrics.values():
            metric._update(rows)

    def _merge(self, other: MetricSet) -> None:
        for name, metric in self._metrics.items():
            metric.merge(other._metrics[name])
