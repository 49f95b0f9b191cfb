"""What metrics.jsonl tells about the course of a training, as series over fractional epochs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from mtl_ray.report.charts.training import Series
from mtl_ray.report.formatting import number
from mtl_ray.report.run_files import RunFiles


class History:
    """The step and epoch lines of a run."""

    def __init__(self, run: RunFiles) -> None:
        self._steps = run.steps
        self._epochs = run.epochs
        self._ends = [(float(line["epoch"]), float(line["step"])) for line in run.epochs if number(line.get("step"))]
        self.best = self._best(run.summary)

    def _best(self, summary: dict[str, Any]) -> float | None:
        marked = [float(line["epoch"]) for line in self._epochs if line.get("best")]
        return marked[-1] if marked else number(summary.get("best_epoch"))

    @property
    def epochs(self) -> int:
        """Number of epochs that were finished."""
        return len(self._epochs)

    def by_step(self, key: str) -> Series:
        """The values of `key` in step lines."""
        points = [(self._position(line), number(line.get(key))) for line in self._steps]
        return _series(points)

    def counted(self, key: str) -> float:
        """How far the counter `key` of the step lines came in all. It stands for 0 where a line lacks it, and begins
        anew after a restart."""
        total, before = 0.0, 0.0
        for line in self._steps:
            now = number(line.get(key)) or 0.0
            total += now - before if now >= before else now
            before = now
        return total

    def by_epoch(self, key: str) -> Series:
        """The values of `key` in epoch lines."""
        return _series([(float(line["epoch"]), number(line.get(key))) for line in self._epochs])

    def at_best(self, key: str) -> float | None:
        """Value of `key` in the best epoch's line, or the last one's where none is marked."""
        chosen = [line for line in self._epochs if float(line["epoch"]) == self.best] or self._epochs[-1:]
        return number(chosen[0].get(key)) if chosen else None

    def metrics_of(self, prefix: str) -> list[str]:
        """Names after `prefix` of every key of the epoch lines that holds a number, in order of appearance."""
        names: dict[str, None] = {}
        for line in self._epochs:
            for key, value in line.items():
                name = key.removeprefix(prefix)
                if name != key and "/" not in name and number(value) is not None:
                    names[name] = None
        return list(names)

    def total_seconds(self) -> float | None:
        """Seconds from the start of training to the end of the last epoch; lines count from the start."""
        found = [value for line in self._epochs if (value := number(line.get("seconds"))) is not None]
        return max(found, default=None)

    def _position(self, line: dict[str, Any]) -> float:
        """Where a step stands in fractional epochs, from the steps at which epochs ended."""
        step = float(line["step"])
        if not self._ends:
            return step
        at = min(bisect_left([end for _, end in self._ends], step), len(self._ends) - 1)
        epoch, end = self._ends[at]
        before = self._ends[at - 1] if at else (epoch - 1, 0.0)
        width = max(end - before[1], 1.0)
        return before[0] + (step - before[1]) / width * (epoch - before[0])


def _series(points: Sequence[tuple[float, float | None]]) -> Series:
    kept = [(x, y) for x, y in points if y is not None]
    return [x for x, _ in kept], [y for _, y in kept]
