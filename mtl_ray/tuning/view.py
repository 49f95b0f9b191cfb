"""A search as it is seen on a terminal: a table that lives, or a line a trial where nobody watches."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback
from rich import box
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from mtl_ray.command_line import console
from mtl_ray.report.formatting import ABSENT
from mtl_ray.tuning.objective import Objective
from mtl_ray.tuning.resolve import in_short_words
from mtl_ray.tuning.trial import JUDGED, POINT

SHOWN = 12
"""Lines of the table: the trials that run, and then the best ones."""

METRICS = 6
"""Of so many tasks at most there is a column."""

_STATES = {"PENDING": "waiting", "RUNNING": "running", "PAUSED": "paused", "ERROR": "lost"}
"""Of Tune's words those that the user sees; a trial that has ended says how."""


class SearchView(Callback):
    """Shows trials on stderr. Tune pickles its callbacks: one that comes back starts anew."""

    def __init__(self, objective: Objective, number: int) -> None:
        """`number`: of trials."""
        self._objective = objective
        self._number = number
        self._live: Live | None = None
        self._results: dict[str, dict[str, Any]] = {}
        self._trials: dict[str, Any] = {}
        """Tune's own, whose status changes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return SearchView, (self._objective, self._number)

    def setup(self, **info: Any) -> None:  # noqa: ARG002
        """The search begins."""
        if console.is_terminal:
            self._live = Live(console=console, transient=True, get_renderable=self.table, refresh_per_second=2)
            self._live.start()

    def on_trial_start(self, trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A trial begins, or goes on."""
        self._trials[trial.trial_id] = trial

    def on_trial_result(self, trial: Any, result: dict[str, Any], **info: Any) -> None:  # noqa: ARG002
        """An epoch is over."""
        self._results[trial.trial_id] = result

    def on_trial_complete(self, trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A trial has ended."""
        result = self._results.get(trial.trial_id, {})
        if self._live is None and result:
            console.print(self.line(trial, result), highlight=False, markup=False, soft_wrap=True)

    def on_trial_recover(self, trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A trial's process was lost, and goes on."""
        number = trial.config[POINT]["number"]
        console.print(f"trial {number}: its process was lost, going on from its last epoch", highlight=False)

    def on_trial_error(self, trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A trial is lost for good."""
        console.print(f"trial {trial.config[POINT]['number']}: lost", style="red", highlight=False)

    def on_experiment_end(self, **info: Any) -> None:  # noqa: ARG002
        """The search is over."""
        if self._live is not None:
            self._live.stop()

    def line(self, trial: Any, result: dict[str, Any]) -> str:
        """Of a trial that has ended."""
        point = trial.config[POINT]
        epochs = f"{result['epoch']} epoch{'s' if result['epoch'] != 1 else ''}"
        kept = result.get("kept") or {}
        tasks = ", ".join(f"{_short(name)} {_number(kept.get(name))}" for name in self._metrics([result]))
        reached = f"{_objective(result)} ({tasks})" if tasks else _objective(result)
        how = result["ended"] or "stopped"
        return f"trial {point['number']}: {how} after {epochs}, {reached}  {in_short_words(point['values'])}"

    def table(self) -> Table:
        """Of the trials that have begun: those that run, and then the best ones. What a terminal is too low for is cut
        off at the end."""
        states = {trial: self._state(trial) for trial in self._trials}
        order = sorted(
            states,
            key=lambda trial: (states[trial] != "running", -self._results.get(trial, {}).get(JUDGED, -1e308)),
        )
        metrics = self._metrics(list(self._results.values()))
        ended = sum(state not in ("waiting", "running", "paused") for state in states.values())
        table = Table(
            box=box.SIMPLE_HEAD,
            header_style="bold",
            show_edge=False,
            title=f"{ended} of {self._number} trials have ended",
            title_justify="left",
            title_style="dim",
        )
        for name in ("trial", "state", "epoch", "objective", *(escape(_short(metric)) for metric in metrics)):
            table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
        table.add_column("values", overflow="fold")
        for trial in order[:SHOWN]:
            result = self._results.get(trial, {})
            kept = result.get("kept") or {}
            point = self._trials[trial].config[POINT]
            table.add_row(
                str(point["number"]),
                states[trial],
                str(result.get("epoch", 0)),
                _objective(result),
                *(_number(kept.get(metric)) for metric in metrics),
                escape(in_short_words(point["values"])),
            )
        return table

    def _state(self, trial: str) -> str:
        ended = self._results.get(trial, {}).get("ended") or "stopped"
        return _STATES.get(self._trials[trial].status, ended)

    def _metrics(self, results: list[dict[str, Any]]) -> list[str]:
        """Every task's metrics of the kinds that the objective has; none where the objective says it all."""
        kinds = {_kind(metric) for metric in self._objective.metrics}
        seen = dict.fromkeys(name for result in results for name in result.get("kept") or {})
        found = [name for name in seen if name.count("/") > 1 and _kind(name) in kinds]
        return [] if tuple(found) == self._objective.names else found[:METRICS]


def _kind(metric: str) -> str:
    return metric.rpartition("/")[2]


def _short(metric: str) -> str:
    return metric.removeprefix("validation/")


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.4g}"


def _objective(result: dict[str, Any]) -> str:
    values = result.get("objective") or []
    return ", ".join(f"{value:.5g}" for value in values) or ABSENT
