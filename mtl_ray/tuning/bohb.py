"""BOHB (Falkner et al., ICML 2018): HyperBand's brackets, and densities of good and bad points.

The generator is HpBandSter's, behind Ray's `TuneBOHB`. What Ray's own class (2.60) does differently matters here: it
builds its space by functions that ConfigSpace has dropped, knows no conditions, tells the generator nothing of the last
trial of a rung and of trials that end by themselves, and draws from numpy's global state.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.search.bohb import TuneBOHB

from mtl_ray.errors import ConfigError
from mtl_ray.tuning.objective import Objective
from mtl_ray.tuning.points import Space, Values
from mtl_ray.tuning.settings import BohbConfig
from mtl_ray.tuning.trial import JUDGED, POINT, Point


def check_bohb_installed() -> None:
    """Raise ConfigError where HpBandSter or ConfigSpace is not there."""
    missing = [name for name in ("hpbandster", "ConfigSpace") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"BOHB needs {' and '.join(missing)}, which is not installed.",
            where="scheduler",
            found="bohb",
            allowed="hyperband or asha with the searcher tpe, without it",
            fix="pip install 'mtl-ray[bohb]'; without a C compiler pip install --no-deps -r requirements-bohb.txt",
        )


class BohbSearcher(TuneBOHB):
    """Suggests a `Point`, and learns from the trials that reach a rung of a bracket.

    Equal seeds draw equal points as long as the results come in the same order: with one trial at a time. The whole
    state is pickled with Tune's, so that a resumed search draws what it would have drawn.
    """

    running: set[str]
    paused: set[str]
    """Trials, by Tune's id."""

    def __init__(self, config: BohbConfig, space: Space, objective: Objective, seed: int, epochs: int) -> None:
        """
        Args:
            objective: a single one.
            seed: of trial 0; the following have the following numbers.
            epochs: of the longest trial.
        """
        from mtl_ray.tuning.config_space import BohbSpace  # of the extra bohb

        self._points = BohbSpace(space, seed)
        self._target = objective.targets[0]
        self._first_seed = seed
        self._number = 0
        self._epochs = epochs
        self._first: list[Values] = []
        self._suggested: dict[str, tuple[dict[str, Any], Point]] = {}
        """By Tune's id, in ConfigSpace's terms and in ours."""
        self._again: list[tuple[dict[str, Any], Point]] = []
        """Of trials that were lost before anybody knew of them."""
        self._told: set[tuple[str, float]] = set()
        self._numpy = np.random.RandomState(seed).get_state()
        # What it warns of, it mends itself by a random draw.
        logging.getLogger("hpbandster").setLevel(logging.ERROR)
        super().__init__(
            self._points.configurations,
            bohb_config={"random_fraction": config.random},
            metric=JUDGED,
            mode="max",
            seed=seed,
        )

    @property
    def least(self) -> int:
        """Results with one number of epochs that the densities need; before, points are drawn at random."""
        return 2 * int(self.bohber.min_points_in_model)

    def begin_with(self, points: Sequence[Values]) -> None:
        """Suggest these first; what a point leaves out is drawn."""
        self._first += points

    def learn(self, values: Values, objective: Sequence[float]) -> None:
        """Take a trial of another search for one of this, trained to its end. Raises ValueError where it lies outside
        of the space, or says nothing of some parameter."""
        _, configured = self._points.complete(values, {})
        self._tell(configured, self._target.score(objective[0]), self._epochs)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next point; None as long as enough trials run, of which those that are paused are none."""
        if 0 < self._max_concurrent <= len(self.running):
            return None
        configured, point = self._again.pop(0) if self._again else self._drawn()
        self.trial_to_params[trial_id] = configured
        self.running.add(trial_id)
        self._suggested[trial_id] = configured, point
        return {POINT: point}

    def _drawn(self) -> tuple[dict[str, Any], Point]:
        if self._first:
            values, configured = self._points.complete(self._first.pop(0))
        else:
            with self._own_numbers():
                proposed, _ = self.bohber.get_config(None)
            values, configured = self._points.complete({}, proposed)
        number, self._number = self._number, self._number + 1
        return configured, Point(values=values, seed=self._first_seed + number, number=number)

    def agree_with(self, trials: Sequence[str]) -> bool:
        """As `mtl_ray.tuning.searcher.OptunaSearcher`."""
        lost = [trial_id for trial_id in self._suggested if trial_id not in trials]
        unknown = [trial_id for trial_id in trials if trial_id not in self._suggested]
        for trial_id in unknown:
            configured, point = self._drawn()
            self.trial_to_params[trial_id] = configured
            self._suggested[trial_id] = configured, point
        for trial_id in lost:
            self._again.append(self._suggested.pop(trial_id))
            self.trial_to_params.pop(trial_id, None)
            self.running.discard(trial_id)
            self.paused.discard(trial_id)
        return bool(lost or unknown)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch is over; the scheduler has noted whether it is the last one before a halving."""
        if trial_id not in self.paused:
            self.running.add(trial_id)
        if "budget" in result.get("hyperband_info", {}):
            # Epochs, not the rung's: a trial that a resumed search goes on with may be beyond.
            self._tell_of(trial_id, result, result["epoch"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial has ended by itself, or has been stopped at a rung. One whose process was lost says nothing of its
        point."""
        if trial_id not in self.trial_to_params:
            return
        if result is not None and not error:
            budget = self._budget_at_its_end(result)
            if budget is not None:
                self._tell_of(trial_id, result, budget)
        super().on_trial_complete(trial_id, result, error)

    def restore(self, checkpoint_path: str) -> None:
        """What `save` wrote. The scheduler of a resumed search has no brackets yet: what was paused runs again."""
        super().restore(checkpoint_path)
        self.running |= self.paused
        self.paused = set()
        # A trial whose end was written down here alone, and not yet by Tune, runs again.
        for trial_id, (configured, _) in self._suggested.items():
            self.trial_to_params.setdefault(trial_id, configured)

    def _budget_at_its_end(self, result: dict[str, Any]) -> int | None:
        """Epochs that a trial's last result stands for."""
        if result["ended"] == "finished":
            # More epochs would not change it, be it that early stopping ended it.
            return self._epochs
        if result["ended"] == "failed":
            # It is the worst of the next rung, where that is known.
            return min((budget for budget in self.bohber.configs if budget > result["epoch"]), default=None)
        return int(result["epoch"])

    def _tell_of(self, trial_id: str, result: dict[str, Any], budget: int) -> None:
        """Once: an epoch is repeated where a process was lost."""
        if (trial_id, budget) not in self._told:
            self._told.add((trial_id, budget))
            self._tell(self.trial_to_params[trial_id], result[JUDGED], budget)

    def _tell(self, configured: dict[str, Any], score: float, budget: int) -> None:
        job = SimpleNamespace(result={"loss": -score}, kwargs={"budget": budget, "config": configured}, exception=None)
        with self._own_numbers():
            self.bohber.new_result(job)

    @contextmanager
    def _own_numbers(self) -> Iterator[None]:
        """HpBandSter draws from numpy's global state: meanwhile that is the search's own. A density of zero width makes
        statsmodels divide by zero, which HpBandSter expects."""
        others = np.random.get_state()
        np.random.set_state(self._numpy)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            self._numpy = np.random.get_state()
            np.random.set_state(others)
