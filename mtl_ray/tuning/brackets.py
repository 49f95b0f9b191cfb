"""Ray's HyperBand schedulers in a search that is resumed."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import HyperBandForBOHB, HyperBandScheduler


class _OfTheUnfinished:
    """Ray (2.60) puts every trial of a resumed search into new brackets, ended ones too: those wait for these, which
    never report, for ever."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial is new, or goes on."""
        if not trial.is_finished():
            super().on_trial_add(tune_controller, trial)  # type: ignore[misc]


class HyperBand(_OfTheUnfinished, HyperBandScheduler):
    """HyperBand."""


class HyperBandOfBohb(_OfTheUnfinished, HyperBandForBOHB):
    """HyperBand, the largest bracket first, in which `BohbSearcher` may add trials while others are paused."""
