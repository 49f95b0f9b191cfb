"""Training set and model brought up to date, as a scheduler asks for every night: newer rows, on earlier weights.

What a night does is told by what is there, not by a date: a retry finds the training set that its first attempt has
appended, and the run that it has begun or ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from mtl_ray.config import Config
from mtl_ray.data.contract.table import summary_line
from mtl_ray.data.snapshot import build_training_set
from mtl_ray.errors import ConfigError
from mtl_ray.run_folder import RunFolder, newest_run, unfinished_run
from mtl_ray.training.launch import Say, TrainingOutcome, train
from mtl_ray.training.progress import Record


def retrain(config: Config, say: Say, show: Callable[[Record], None]) -> TrainingOutcome:
    """Append what the spine has after the newest training set's last row, and train on the result.

    The training begins with the weights of the newest run of the config's name that has ended; with drawn ones where
    there is none yet. Where that run was trained on this training set already, it is the outcome.

    Args:
        config: without training.training_set and training.start_from, which are chosen here.
        say, show: as of `train`.

    Raises:
        ConfigError: the config names one of both.
        Others as `build_training_set` and `train` do; the training set is kept where only the training fails.
    """
    for name in ("training_set", "start_from"):
        if getattr(config.training, name) is not None:
            raise ConfigError(
                "Which training set and which run to go on from is chosen here.",
                where=f"training.{name}",
                found=getattr(config.training, name),
                allowed="null",
                fix="leave it out, or use jobs/train.py",
            )
    group_by = config.evaluation.group_by
    built = build_training_set(
        config.storage, config.features, config.training_set, config.tasks, group_by, say, newer=True
    )
    say(f"data contract: {summary_line(built.contract())}")
    earlier = newest_run(config.storage, config.name)
    if earlier is not None and _trained_on(earlier) == built.manifest.id:
        say(f"there is nothing new to learn: {earlier.place} was trained on {built.place}")
        return TrainingOutcome(earlier, earlier.summary())
    if earlier is None:
        say(f"no run named {config.name} has ended yet: weights are drawn")
    start = None if earlier is None else earlier.place
    chosen = {"training_set": built.place, "start_from": start}
    config = config.model_copy(update={"training": config.training.model_copy(update=chosen)})
    run = unfinished_run(config)
    if run is not None:
        say(f"going on with {run.place}")
        config = run.config()  # with what was chosen for it
    return train(config, say, show, run=run)


def _trained_on(run: RunFolder) -> str:
    """Id of the training set."""
    return str(json.loads((run.path / "training_set.json").read_text())["id"])
