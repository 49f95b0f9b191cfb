"""One method in one table, with all its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from tests.benchmarks.balancing_quality.differences import Difference, difference
from tests.benchmarks.measure import Measured


@dataclass(frozen=True)
class Row:
    """A method's runs."""

    method: str
    kind: str
    runs: Mapping[int, Measured]
    """Seed -> its run."""

    @property
    def error(self) -> str | None:
        """Of the first seed that failed."""
        return next((run.error for run in self.runs.values() if run.error is not None), None)

    @property
    def seconds(self) -> float:
        """Of the processor for a training, median over the seeds."""
        return median(float(run.figures["cpu_seconds"]) for run in self.runs.values())

    def auc(self, tasks: Sequence[str]) -> float:
        """Of the test part, mean over `tasks` and the seeds."""
        return fmean(_auc(run, tasks) for run in self.runs.values())

    def less(self, other: Row, tasks: Sequence[str]) -> Difference:
        """This mean AUC over `tasks` less that of `other`, over the seeds that both have.

        Raises ValueError where they predicted other rows: their resamples are not the same either.
        """
        seeds = [seed for seed in self.runs if seed in other.runs]
        mine, theirs = ([row.runs[seed] for seed in seeds] for row in (self, other))
        if {run.figures["test_rows"] for run in (*mine, *theirs)} != {mine[0].figures["test_rows"]}:
            raise ValueError(f"{self.method} and {other.method} were not tested on the same rows")
        return difference(
            [_auc(run, tasks) for run in mine],
            [_auc(run, tasks) for run in theirs],
            [_replicates(run, tasks) for run in mine],
            [_replicates(run, tasks) for run in theirs],
        )


def _auc(run: Measured, tasks: Sequence[str]) -> float:
    return fmean(run.figures["test"][task]["roc_auc"]["value"] for task in tasks)


def _replicates(run: Measured, tasks: Sequence[str]) -> list[float]:
    each = [run.figures["replicates"][task] for task in tasks]
    return [fmean(values) for values in zip(*each, strict=True)]


def side_by_side(runs: Sequence[Measured]) -> Measured:
    """Trainings of different tasks as one run: seconds add up. The first error is the run's."""
    error = next((run.error for run in runs if run.error is not None), None)
    if error is not None:
        return Measured(error=error)
    figures: dict[str, Any] = {
        part: {task: values for run in runs for task, values in run.figures[part].items()}
        for part in ("validation", "test", "replicates")
    }
    figures["cpu_seconds"] = sum(run.figures["cpu_seconds"] for run in runs)
    digests = {run.figures["test_rows"] for run in runs}
    figures["test_rows"] = ",".join(sorted(digests))
    return Measured(
        seconds=sum(run.seconds or 0.0 for run in runs),
        peak_mb=max(run.peak_mb or 0.0 for run in runs),
        figures=figures,
    )
