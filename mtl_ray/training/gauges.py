"""A training's figures as Prometheus metrics, through Ray: every node's exporter shows those of its workers.

All have the tags `run` (name of the run folder) and `rank`; in Prometheus their names begin with `ray_`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge

TAGS = ("run", "rank")


class TrainingGauges:
    """The gauges of one rank; they hold what was set last."""

    def __init__(self, run: str, rank: int) -> None:
        self._tags = {"run": run, "rank": str(rank)}
        self._speed = Gauge("mtl_samples_per_second", "Rows that this rank trains on in a second.", TAGS)
        self._wait = Gauge("mtl_input_wait_share", "Share of the time in which this rank waits for its input.", TAGS)
        self._step = Gauge("mtl_step", "Optimizer steps so far.", TAGS)
        self._loss = Gauge("mtl_task_loss", "A task's mean training loss, over all ranks.", (*TAGS, "task"))

    def set(self, step: int, samples_per_second: float, input_wait_share: float) -> None:
        """What this rank did since the last call."""
        self._step.set(step, self._tags)
        self._speed.set(samples_per_second, self._tags)
        self._wait.set(input_wait_share, self._tags)

    def set_losses(self, losses: Mapping[str, float]) -> None:
        """Losses by task; a task without a label since the last call keeps its value."""
        for task, loss in losses.items():
            if loss == loss:
                self._loss.set(loss, {**self._tags, "task": task})


class Restarts:
    """Counts, in the driver, how often a run's workers were started again."""

    def __init__(self, run: str) -> None:
        self._tags = {"run": run, "rank": "driver"}
        self._counter = Counter("mtl_worker_restarts", "Times that the workers were started again.", TAGS)
        self._starts = 0

    def started(self) -> None:
        """The workers have started."""
        if self._starts:
            self._counter.inc(1, self._tags)
        self._starts += 1
