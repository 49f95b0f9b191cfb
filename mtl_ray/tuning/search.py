"""From a config and a space file to a finished search: the driver's side."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from ray import tune
from ray.tune import PlacementGroupFactory

from mtl_ray.cluster import check_resources, driver_memory, ray_session
from mtl_ray.config import Config
from mtl_ray.data.manifest import MANIFEST_FILE
from mtl_ray.data.snapshot import open_snapshot
from mtl_ray.errors import CheckpointError, InterruptedRunError
from mtl_ray.training.launch import check_trainable, verified_training_set
from mtl_ray.tuning.bohb import check_bohb_installed
from mtl_ray.tuning.check import check_search, dropped_keys, judged_by
from mtl_ray.tuning.finish import finish, read
from mtl_ray.tuning.folder import TUNE, Asked, SearchFolder, newest_search
from mtl_ray.tuning.mending import mend_checkpoints, mend_searcher
from mtl_ray.tuning.one_worker import OneWorkerTrial
from mtl_ray.tuning.outcome import Outcome
from mtl_ray.tuning.points import Values, corners, grid
from mtl_ray.tuning.resolve import resolved
from mtl_ray.tuning.room import check_room, needed, share_of_cpus
from mtl_ray.tuning.schedulers import build_scheduler
from mtl_ray.tuning.searcher import ChosenSearcher, OptunaSearcher, build_searcher
from mtl_ray.tuning.settings import POPULATIONS, BohbConfig, SearchSettings
from mtl_ray.tuning.several_workers import train_on_workers
from mtl_ray.tuning.start import first_points, learn_searches, with_totals
from mtl_ray.tuning.trial import POINT, TrialSetup
from mtl_ray.tuning.view import SearchView

Say = Callable[[str], None]

TRIALS = 20
"""Where no number was asked for."""

SEEN = ("train", "validation")
"""Parts of the training set that a search reads."""

_TUNE = {
    "TUNE_GLOBAL_CHECKPOINT_S": "2",  # how often it writes down where the search stands, beside each trial checkpoint
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",  # which it would call excessive
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # which lets an interrupted search look like one that has ended
    "RAY_AIR_NEW_OUTPUT": "0",  # it would announce itself on stdout, which is the result's alone
}


def search(
    config: Config,
    settings: SearchSettings,
    trials: int | None,
    concurrent: int | None,
    time_budget: float | None,
    say: Say,
    again: bool = False,
) -> Outcome:
    """Search around `config`, and leave a folder (`mtl_ray.tuning.folder`).

    Args:
        config: what trials differ from in the space's keys alone.
        settings: the space file.
        trials: how many; None: all of a grid, else TRIALS.
        concurrent: trials at a time; None: as many as the machine has cores for.
        time_budget: seconds after which running trials stop; None: no limit.
        say: receives a sentence whenever a stage begins. The trials are shown on the terminal (`SearchView`).
        again: this may have been asked for before: go on with the newest such search of the storage, or give the
            result that it has, and search only where there is none. That is how a job that may be submitted again is
            written.

    Raises:
        UserError: something that the user can mend, before any trial has started. A trial that fails is a row of the
            result.
        InterruptedRunError: Ctrl-C; `resume` goes on.
    """
    config, settings = _ready(config, settings, say)
    check_search(config, settings)
    cpus, gpus = needed(config, settings)
    number = _number(settings, trials, say)
    at_a_time = concurrent or min(number, max(1, int((os.cpu_count() or 1) // cpus)))
    check_resources(at_a_time * cpus, math.ceil(at_a_time * gpus))
    for key in dropped_keys(config, settings.space):
        say(f"trials of another variant leave out {key}")
    points = first_points(config, settings, number, say)
    snapshot = verified_training_set(config, say, SEEN)
    tree = config.model_dump(mode="json")
    for values in corners(settings.space):
        check_trainable(resolved(tree, values, config.seed), snapshot)
    asked = Asked(
        created=datetime.now(UTC),
        trials=number,
        concurrent=at_a_time,
        time_budget=time_budget,
        training_set=snapshot.place,
        training_set_id=snapshot.manifest.id,
    )
    former = newest_search(config, settings, asked) if again else None
    if former is not None:
        return _go_on(former, say)
    searcher = _searcher(config, settings, points, asked, say)
    with ray_session(at_a_time * cpus):
        check_room(cpus, gpus, config)
        folder = SearchFolder.create(config, settings, asked, (snapshot.path / MANIFEST_FILE).read_text())
        say(f"search folder {folder.place}")
        return _run(_new_tuner(folder, config, settings, asked, searcher, say), folder, say)


def resume(place: str, say: Say) -> Outcome:
    """Go on with a search whose driver or cluster was lost. Finished trials are not repeated; of a search that has
    ended there is its result.

    Raises CheckpointError where the folder holds no search, or its training set is another one by now.
    """
    folder = SearchFolder.open(place)
    asked = folder.asked()
    snapshot = open_snapshot(asked.training_set, verify=True, parts=SEEN)
    if snapshot.manifest.id != asked.training_set_id:
        raise CheckpointError(
            "The search ran on another training set.",
            where=snapshot.place,
            found=snapshot.manifest.id,
            allowed=asked.training_set_id,
        )
    return _go_on(folder, say)


def _go_on(folder: SearchFolder, say: Say) -> Outcome:
    """`resume`, with a training set that is known to be the search's."""
    if folder.has_ended():
        say(f"{folder.place} has ended: nothing is repeated")
        return read(folder)
    config, asked = folder.config(), folder.asked()
    config, settings = _ready(config, folder.settings(), lambda _: None)
    cpus, gpus = needed(config, settings)
    check_resources(asked.concurrent * cpus, math.ceil(asked.concurrent * gpus))
    with ray_session(asked.concurrent * cpus):
        check_room(cpus, gpus, config)
        say(f"going on with {folder.place}")
        if folder.has_begun():
            mend_checkpoints(folder.tune)
            if settings.scheduler.name not in POPULATIONS:
                objective = check_search(config, settings)
                mend_searcher(folder.tune, build_searcher(settings, objective, config.seed, _longest(config, settings)))
            trainable = _trainable(folder, config, settings, asked.concurrent)
            return _run(tune.Tuner.restore(folder.tune, trainable, resume_errored=False), folder, say)
        searcher = _searcher(config, settings, first_points(config, settings, asked.trials, say), asked, say)
        return _run(_new_tuner(folder, config, settings, asked, searcher, say), folder, say)


def _searcher(
    config: Config, settings: SearchSettings, points: Sequence[Values], asked: Asked, say: Say
) -> ChosenSearcher:
    objective = check_search(config, settings)
    searcher = build_searcher(settings, objective, config.seed, _longest(config, settings))
    learn_searches(searcher, settings, objective, asked.training_set_id, say)
    _begin(searcher, points, settings, asked.trials, say)
    return searcher


def _new_tuner(
    folder: SearchFolder, config: Config, settings: SearchSettings, asked: Asked, searcher: ChosenSearcher, say: Say
) -> tune.Tuner:
    """Of a search that has tried nothing yet."""
    say(f"{asked.trials} trials, {asked.concurrent} at a time")
    population = settings.scheduler.name in POPULATIONS
    return tune.Tuner(
        _trainable(folder, config, settings, asked.concurrent),
        param_space=_population(searcher, settings, asked.trials),
        tune_config=tune.TuneConfig(
            search_alg=None if population else searcher,
            scheduler=build_scheduler(settings.scheduler, settings.space, _longest(config, settings)),
            num_samples=1 if population else asked.trials,
            # Tune would not even create the other members of a population: they are kept apart by their CPUs.
            max_concurrent_trials=None if population else asked.concurrent,
            time_budget_s=asked.time_budget,
            reuse_actors=config.training.workers.max == 1,
            trial_dirname_creator=_folder_name,
        ),
        run_config=tune.RunConfig(
            name=TUNE,
            storage_path=folder.place,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=settings.max_failures),
            checkpoint_config=_checkpoints(config, settings),
            callbacks=[SearchView(check_search(config, settings), asked.trials)],
        ),
    )


def _run(tuner: tune.Tuner, folder: SearchFolder, say: Say) -> Outcome:
    for name, value in _TUNE.items():
        os.environ.setdefault(name, value)
    began = time.monotonic()
    try:
        tuner.fit()
    except KeyboardInterrupt:
        raise InterruptedRunError(f"Interrupted. Go on with it: jobs/tune.py --resume {folder.place}") from None
    return finish(folder, time.monotonic() - began, say)


def _ready(config: Config, settings: SearchSettings, say: Say) -> tuple[Config, SearchSettings]:
    """With what the one leaves to the other: the sum of a simplex is that of the config's weights; a population is
    drawn at random, and trains all epochs."""
    settings = with_totals(settings, {name: task.weight for name, task in config.tasks.items()})
    if isinstance(settings.scheduler, BohbConfig):
        check_bohb_installed()
    if settings.scheduler.name not in POPULATIONS:
        return config, settings
    settings = settings.model_copy(update={"searcher": "random"})
    stopping = config.training.early_stopping
    if stopping.patience is not None:
        say("a population trains all epochs: training.early_stopping.patience does not count")
    stopping = stopping.model_copy(update={"patience": None})
    training = config.training.model_copy(update={"early_stopping": stopping})
    return config.model_copy(update={"training": training}), settings


def _number(settings: SearchSettings, trials: int | None, say: Say) -> int:
    if settings.searcher != "grid":
        return trials or TRIALS
    points = len(grid(settings.space))
    if trials is not None and trials < points:
        say(f"the grid has {points} points, of which --trials takes the first {trials}")
    return min(points, trials or points)


def _begin(searcher: ChosenSearcher, points: Sequence[Values], settings: SearchSettings, number: int, say: Say) -> None:
    if isinstance(searcher, OptunaSearcher):
        searcher.begin_with(points, only=settings.searcher == "grid")
        return
    searcher.begin_with(points)
    if number < searcher.least:
        say(
            f"BOHB draws at random until {searcher.least} trials have come equally far, and there are {number}: "
            "more trials, or a smaller space"
        )


def _trainable(folder: SearchFolder, config: Config, settings: SearchSettings, at_a_time: int) -> Any:
    objective = check_search(config, settings)
    setup = TrialSetup(
        base=config.model_dump(mode="json"),
        snapshot=folder.asked().training_set,
        folder=folder.place,
        objective=objective,
        judged_by=judged_by(settings, config, objective),
    )
    training = config.training
    if training.workers.max > 1:
        driver: Any = tune.with_parameters(train_on_workers, setup=setup)
        return tune.with_resources(driver, PlacementGroupFactory([{"memory": driver_memory()}]))
    cpus = training.cpus_per_worker
    if settings.scheduler.name in POPULATIONS:
        cpus = max(cpus, share_of_cpus(at_a_time))
    place = {"CPU": cpus, **({"GPU": settings.gpu_share} if training.use_gpu else {})}
    return tune.with_resources(tune.with_parameters(OneWorkerTrial, setup=setup), PlacementGroupFactory([place]))


def _checkpoints(config: Config, settings: SearchSettings) -> tune.CheckpointConfig:
    if config.training.workers.max > 1:
        return tune.CheckpointConfig()
    # A member of a population may take over a checkpoint that its owner has already gone on from.
    kept = 4 if settings.scheduler.name in POPULATIONS else 1
    return tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=kept)


def _population(searcher: ChosenSearcher, settings: SearchSettings, number: int) -> dict[str, Any] | None:
    """The members as a grid: Tune's populations take no searcher."""
    if settings.scheduler.name not in POPULATIONS:
        return None
    members: Sequence[Any] = [searcher.suggest(str(at)) for at in range(number)]
    return {POINT: tune.grid_search([member[POINT] for member in members])}


def _longest(config: Config, settings: SearchSettings) -> int:
    tree = config.model_dump(mode="json")
    return max(resolved(tree, values, config.seed).training.epochs for values in corners(settings.space))


def _folder_name(trial: Any) -> str:
    return f"trial-{trial.config[POINT]['number']}-{trial.trial_id}"
