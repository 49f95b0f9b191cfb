"""Optuna as Ray Tune's searcher, by ask and tell.

Ray's own OptunaSearch (2.60) leaves a trial whose metric is NaN running for ever in the study, tells a trial that a
scheduler stopped as complete, and takes no evaluated points into a space with conditions. All three matter here.
"""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from mtl_ray.tuning.bohb import BohbSearcher
from mtl_ray.tuning.objective import Objective
from mtl_ray.tuning.points import Space, Values, as_optuna, drawn
from mtl_ray.tuning.settings import BohbConfig, SearcherName, SearchSettings
from mtl_ray.tuning.trial import JUDGED, POINT, Point


class OptunaSearcher(Searcher):
    """Suggests a `Point`. Its whole state is pickled with Tune's, so that a resumed search draws
    what it would have drawn."""

    def __init__(self, space: Space, objective: Objective, sampler: optuna.samplers.BaseSampler, seed: int) -> None:
        """`seed`: of trial 0; the following have the following numbers."""
        super().__init__(metric=JUDGED, mode="max")
        self._space = dict(space)
        self._seed = seed
        self._number = 0
        self._running: dict[str, optuna.Trial] = {}
        self._suggested: dict[str, Point] = {}
        self._again: list[tuple[optuna.Trial | None, Point]] = []
        """Of trials that were lost before anybody knew of them. None: its result is in the study."""
        self._single = objective.single
        directions: list[Literal["minimize", "maximize"]] = [
            "maximize" if target.greater_is_better else "minimize" for target in objective.targets
        ]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(directions=directions, sampler=sampler)
        self._left: int | None = None

    def begin_with(self, points: Sequence[Values], only: bool = False) -> None:
        """Suggest these first; what a point leaves out is drawn. `only`: nothing else afterwards."""
        for point in points:
            self.study.enqueue_trial(as_optuna(self._space, point)[0])
        if only:
            self._left = len(points)

    def learn(self, values: Values, objective: Sequence[float]) -> None:
        """Take a trial of another search for one of this. Raises ValueError where it lies outside of the space."""
        params, distributions = as_optuna(self._space, values)
        self.study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, values=list(objective))
        )

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """Ask."""
        trial: optuna.Trial | None
        if self._again:
            trial, point = self._again.pop(0)
        else:
            if self._left is not None:
                if self._left == 0:
                    return Searcher.FINISHED
                self._left -= 1
            trial = self.study.ask()
            number, self._number = self._number, self._number + 1
            point = Point(values=drawn(self._space, trial), seed=self._seed + number, number=number)
        if trial is not None:
            self._running[trial_id] = trial
        self._suggested[trial_id] = point
        return {POINT: point}

    def agree_with(self, trials: Sequence[str]) -> bool:
        """Forget the suggestions that none of the trials came of, and make them again first; suggest to those that are
        not known what they had. Whether there was any. `trials`: by Tune's id, in the order of their start."""
        lost = [trial_id for trial_id in self._suggested if trial_id not in trials]
        unknown = [trial_id for trial_id in trials if trial_id not in self._suggested]
        for trial_id in unknown:
            self.suggest(trial_id)
        self._again += [(self._running.pop(trial_id, None), self._suggested.pop(trial_id)) for trial_id in lost]
        return bool(lost or unknown)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note where a trial stands, for the sampler to learn from those that are stopped. Of one objective only:
        Optuna has no such thing for several."""
        values = result["objective"]
        if self._single and values and math.isfinite(values[0]) and trial_id in self._running:
            self._running[trial_id].report(values[0], result["epoch"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell."""
        trial = self._running.pop(trial_id, None)
        if trial is None:
            return
        values = (result or {}).get("objective") or []
        if error or not values or not all(math.isfinite(value) for value in values):
            self.study.tell(trial, state=TrialState.FAIL)
        elif result is not None and not result["ended"] and self._single:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, values)

    def save(self, checkpoint_path: str) -> None:
        """Everything."""
        Path(checkpoint_path).write_bytes(pickle.dumps(self.__dict__))

    def restore(self, checkpoint_path: str) -> None:
        """What `save` wrote."""
        self.__dict__.update(pickle.loads(Path(checkpoint_path).read_bytes()))


def sampler_of(name: SearcherName, seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler: TPE (which is MOTPE where there are several objectives) models parameters together, and
    spreads trials that run at the same time."""
    if name in ("random", "grid"):
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=16)
    with warnings.catch_warnings():
        # Of its interface, which may change; constraints.txt holds the version.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


ChosenSearcher = OptunaSearcher | BohbSearcher


def build_searcher(settings: SearchSettings, objective: Objective, seed: int, epochs: int) -> ChosenSearcher:
    """`seed`: of trial 0. `epochs`: of the longest trial."""
    if isinstance(settings.scheduler, BohbConfig):
        return BohbSearcher(settings.scheduler, settings.space, objective, seed, epochs)
    return OptunaSearcher(settings.space, objective, sampler_of(settings.searcher, seed), seed)
