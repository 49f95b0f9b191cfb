"""What is promised of the cost of balancing, against what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.balancing.timed_steps import Turn
from tests.benchmarks.results import Verdict

GOALS = {
    "loss weighting": (1.05, (3, 8)),
    "aggregation on representation": (1.3, (3,)),
    "aggregation on shared": (2.0, (3,)),
}
"""Kind of method -> largest ratio to the plain sum, and the numbers of tasks for which it is promised."""


@dataclass(frozen=True)
class Row:
    """One method with so many tasks on so many workers."""

    tasks: int
    workers: int
    method: str
    kind: str
    seconds: tuple[float, ...]
    ratios: tuple[float, ...]
    """To the plain sum just before."""

    @property
    def ratio(self) -> float:
        """The median."""
        return median(self.ratios)

    def as_json(self) -> dict[str, object]:
        """For the document."""
        return {
            "tasks": self.tasks,
            "workers": self.workers,
            "method": self.method,
            "kind": self.kind,
            "milliseconds": round(1000 * median(self.seconds), 1),
            "ratio": round(self.ratio, 3),
            "ratios": [round(value, 3) for value in self.ratios],
        }


def rows_of(tasks: int, workers: int, turns: dict[str, list[Turn]], kinds: dict[str, str]) -> list[Row]:
    """With the ratios to the plain sum."""
    found = []
    for name, own in turns.items():
        seconds, ratios = tuple(turn for turn, _ in own), tuple(turn / plain for turn, plain in own)
        found.append(Row(tasks, workers, name, kinds[name], seconds, ratios))
    return found


def verdicts(rows: Sequence[Row]) -> tuple[Verdict, ...]:
    """One for each kind of method, tasks and workers."""
    found = []
    for kind, (goal, sizes) in GOALS.items():
        for tasks in sizes:
            for workers in (1, 2):
                here = [row for row in rows if (row.kind, row.tasks, row.workers) == (kind, tasks, workers)]
                worst = max(here, key=lambda row: row.ratio, default=None)
                found.append(
                    Verdict(
                        line=f"{kind}, {tasks} tasks, {workers} workers: step over the plain sum's ({len(here)})",
                        goal=f"<= {goal:g}",
                        measured=None if worst is None else f"{worst.ratio:.2f} at most ({worst.method})",
                        met=None if worst is None else worst.ratio <= goal,
                    )
                )
    return tuple(found)
