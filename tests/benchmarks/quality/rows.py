"""One side with all its seeds: means, spread and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any

from tests.benchmarks.measure import Measured
from tests.benchmarks.quality.figures import RANKING, choice_score, mean_over_tasks


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    side: str
    ours: bool
    runs: Mapping[int, Measured]
    """Seed -> its run."""
    chosen: bool = False
    """One of our best two on the validation part."""
    note: str = ""
    together: Mapping[str, Any] | None = None
    """Figures of the mean prediction of all seeds; None with one seed."""

    @property
    def averaged(self) -> Row | None:
        """The mean prediction of all seeds, as a line of its own."""
        if self.together is None:
            return None
        name = f"{self.side}, {len(self.runs)} trainings averaged"
        return Row(name, self.ours, {0: Measured(figures=dict(self.together))}, note="no single model")

    @property
    def error(self) -> str | None:
        """Of the first seed that failed."""
        return next((run.error for run in self.runs.values() if run.error is not None), None)

    @property
    def tasks(self) -> dict[str, str]:
        """Task -> type, of the tasks that the side predicts."""
        return {task: values["type"] for task, values in self._parts("test")[0].items()}

    def value(self, task: str, metric: str, end: str = "value", part: str = "test") -> float | None:
        """Mean over the seeds of a metric, or of an end (`low`, `high`) of its interval; None where undefined."""
        values = [tasks[task].get(metric, {}).get(end) for tasks in self._parts(part)]
        return None if any(value is None for value in values) else fmean(values)

    def spread(self, task: str, metric: str) -> float | None:
        """Standard deviation over the seeds; None with one."""
        values = [tasks[task][metric]["value"] for tasks in self._parts("test")]
        return stdev(values) if len(values) > 1 else None

    def mean(self, metric: str, part: str = "test") -> float:
        """Mean over the binary tasks and the seeds."""
        return fmean(mean_over_tasks(tasks, metric) for tasks in self._parts(part))

    def share_of_attainable(self, task: str) -> float | None:
        """Of simulated data: mean over the seeds."""
        values = [tasks[task].get("share_of_attainable") for tasks in self._parts("test")]
        return None if any(value is None for value in values) else fmean(values)

    def as_json(self) -> dict[str, Any]:
        """For the document."""
        found: dict[str, Any] = {"side": self.side, "ours": self.ours, "seeds": len(self.runs)}
        if self.error is not None:
            return {**found, "error": self.error}
        figures = [run.figures for run in self.runs.values()]
        return {
            **found,
            "chosen": self.chosen,
            "note": self.note,
            "seconds": median(run.seconds or 0.0 for run in self.runs.values()),
            "peak_mb": max(run.peak_mb or 0.0 for run in self.runs.values()),
            "parameters": figures[0].get("parameters"),
            "best_epochs": [one.get("best_epoch") for one in figures],
            "validation_score": fmean(choice_score(one) for one in figures),
            **{f"mean_{metric}": self.mean(metric) for metric in RANKING},
            "tasks": {task: self._task(task) for task in self.tasks},
            "averaged": None if self.averaged is None else self.averaged.as_json(),
        }

    def _task(self, task: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for metric, values in self._parts("test")[0][task].items():
            if not isinstance(values, dict):
                continue
            ends = {end: self.value(task, metric, end) for end in ("value", "low", "high")}
            found[metric] = {**ends, "spread": self.spread(task, metric) if ends["value"] is not None else None}
        share = self.share_of_attainable(task)
        return found if share is None else {**found, "share_of_attainable": share}

    def _parts(self, part: str) -> list[dict[str, Any]]:
        return [run.figures[part] for run in self.runs.values()]
