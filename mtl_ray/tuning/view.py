"""A search as it is seen on a terminal: a table that lives, or a line a trial where nobody watches."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback
from rich import box
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from mtl_ray.command_line import console
from mtl_ray.tuning.resolve import in_words
from mtl_ray.tuning.trial import JUDGED, POINT

SHOWN = 12
"""Lines of the table: the trials that run, and then the best ones."""


class SearchView(Callback):
    """Shows trials on stderr. Tune pickles its callbacks: one that comes back starts anew."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._results: dict[str, dict[str, Any]] = {}
        self._points: dict[str, Any] = {}
        self._running: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return SearchView, ()

    def setup(self, **info: Any) -> None:  # noqa: ARG002
        """The search begins."""
        if console.is_terminal:
            self._live = Live(console=console, transient=True, get_renderable=self._table)
            self._live.start()

    def on_trial_start(self, trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A trial begins, or goes on."""
        self._points[trial.trial_id] = trial.config[POINT]
        self._running.add(trial.trial_id)

    def on_trial_result(self, trial: Any, result: dict[str, Any], **info: Any) -> None:  # noqa: ARG002
        """An epoch is over."""
        self._results[trial.trial_id] = result

    def on_trial_complete(self, trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A trial has ended."""
        self._running.discard(trial.trial_id)
        result = self._results.get(trial.trial_id, {})
        if self._live is None and result:
            how = result["ended"] or "stopped"
            point = trial.config[POINT]
            epochs = f"{result['epoch']} epoch{'s' if result['epoch'] != 1 else ''}"
            console.print(
                f"trial {point['number']}: {how} after {epochs}, {_objective(result)}  {in_words(point['values'])}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def on_trial_recover(self, trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A trial's process was lost, and goes on."""
        number = trial.config[POINT]["number"]
        console.print(f"trial {number}: its process was lost, going on from its last epoch", highlight=False)

    def on_trial_error(self, trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A trial is lost for good."""
        self._running.discard(trial.trial_id)
        console.print(f"trial {trial.config[POINT]['number']}: lost", style="red", highlight=False)

    def on_experiment_end(self, **info: Any) -> None:  # noqa: ARG002
        """The search is over."""
        if self._live is not None:
            self._live.stop()

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False)
        for name in ("trial", "state", "epoch", "objective", "values"):
            table.add_column(name, overflow="fold")
        order = sorted(
            self._points,
            key=lambda trial: (trial not in self._running, -self._results.get(trial, {}).get(JUDGED, -1e308)),
        )
        for trial in order[:SHOWN]:
            result = self._results.get(trial, {})
            state = "running" if trial in self._running else result.get("ended") or "stopped"
            point = self._points[trial]
            table.add_row(
                str(point["number"]),
                state,
                str(result.get("epoch", 0)),
                _objective(result),
                escape(in_words(point["values"])),
            )
        return table


def _objective(result: dict[str, Any]) -> str:
    values = result.get("objective") or []
    return ", ".join(f"{value:.5g}" for value in values) or "–"
