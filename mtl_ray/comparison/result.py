"""What a comparison found."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from pydantic import Field

from mtl_ray.evaluation.differences import Difference
from mtl_ray.evaluation.results import MetricValue
from mtl_ray.metrics import GREATER_IS_BETTER
from mtl_ray.report.glossary import headline_metrics
from mtl_ray.schema import Settings

_COMPARED = {
    "binary": ("roc_auc", "gauc", "log_loss"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("rmse", "r2"),
}


def compared_metrics(task_type: str, known: Collection[str]) -> tuple[str, ...]:
    """Metrics that are compared in a task of this type, of those `known` to it, the one that it is known by first."""
    headline, more = headline_metrics(task_type, known), _COMPARED.get(task_type, ())
    wanted = more if headline[0] in more else headline
    return tuple(name for name in wanted if name in known and name in GREATER_IS_BETTER)


class Training(Settings):
    """One config, trained and evaluated."""

    name: str
    model: str
    """Architecture."""
    twin_of: str | None = None
    """The task whose single-task twin this is."""
    run: str | None = None
    """Run folder; None where the training failed."""
    error: str | None = None
    """Why it failed."""
    seconds: float | None = None
    """Of the training."""
    parameters: int | None = None
    tasks: dict[str, dict[str, MetricValue]] = Field(default_factory=dict)
    """Task -> compared metric -> value."""


class Comparison(Settings):
    """The result of `jobs/compare.py`."""

    name: str
    created: datetime
    split: str
    training_set: str
    """Its folder."""
    rows: int
    """Of the split."""
    resampled: str
    """What the bootstrap draws: `rows`, or the column whose groups stay together."""
    replicates: int
    confidence: float
    """Of each interval by itself."""
    trainings: tuple[Training, ...]
    """The configs as they were given, the first of them the baseline, then the twins."""
    differences: tuple[Difference, ...]
    """Each config less the baseline."""
    transfer: tuple[Difference, ...]
    """Each config less the twin of each task; empty without twins."""
    folder: str

    @property
    def baseline(self) -> Training:
        """What the other configs are compared with."""
        return self.trainings[0]

    @property
    def failed(self) -> tuple[Training, ...]:
        """Trainings that did not end well."""
        return tuple(training for training in self.trainings if training.error is not None)

    @property
    def harmed(self) -> dict[str, list[str]]:
        """Config -> tasks whose first metric is worse than the twin's: negative transfer."""
        return _tasks_with("worse", self.transfer)

    @property
    def helped(self) -> dict[str, list[str]]:
        """Config -> tasks whose first metric is better than the twin's."""
        return _tasks_with("better", self.transfer)

    def summary(self) -> dict[str, Any]:
        """What the job prints; JSON types only."""
        failed = {training.name: training.error for training in self.failed}
        return {"failed": failed, "harmed": self.harmed, "helped": self.helped, **self.model_dump(mode="json")}


def _tasks_with(verdict: str, differences: tuple[Difference, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    seen: set[tuple[str, str]] = set()
    for item in differences:
        first = (item.of, item.task) not in seen
        seen.add((item.of, item.task))
        if first and item.verdict == verdict:
            found.setdefault(item.of, []).append(item.task)
    return found
