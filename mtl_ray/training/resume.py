"""Beginning a training, or going on with one whose driver was lost."""

from __future__ import annotations

from collections.abc import Callable

from mtl_ray.config import Config
from mtl_ray.errors import ConfigError
from mtl_ray.run_folder import SUMMARY_FILE, RunFolder, unfinished_run
from mtl_ray.training.batch_size import with_batch_size
from mtl_ray.training.launch import Say, TrainingOutcome, model_context, train, verified_training_set
from mtl_ray.training.machine import with_workers
from mtl_ray.training.placement import with_placement
from mtl_ray.training.progress import Record

AUTO = "auto"


def train_or_resume(
    config: Config | None,
    again: str | None,
    say: Say,
    show: Callable[[Record], None],
    find_batch_size: bool = False,
) -> TrainingOutcome:
    """Train `config` anew, or go on with a run from its newest checkpoint that is whole, to the same end.

    Args:
        config: None where `again` names a run, whose config is used.
        again: None for a new run; a run's folder or URI; or `auto` for the newest run of exactly this config that has
            not ended, and a new one where there is none, which is how a job that may be submitted again is written.
        say, show: as of `train`.
        find_batch_size: a new run gets the batch size that `with_batch_size` finds; one that is gone on with keeps its
            own, whatever the config says.

    Raises:
        ConfigError: neither config nor run, both, or a run that has ended.
        CheckpointError: no such run, or none of its checkpoints is whole.
        Others as `train` does.
    """
    if config is not None and again in (None, AUTO):
        config, words = with_workers(config)
        if words is not None:
            say(words)
        run = None if again is None else unfinished_run(config, any_batch_size=find_batch_size)
        if run is not None:
            say(f"going on with {run.place}")
            return train(run.config(), say, show, run=run)
        if not find_batch_size:
            return train(config, say, show)
        snapshot = verified_training_set(config, say)
        config, placed = with_placement(config, model_context(config, snapshot))
        if placed is not None:
            say(placed)
        return train(with_batch_size(config, snapshot, say), say, show, snapshot)
    if config is None and again not in (None, AUTO):
        return _resume(str(again), say, show)
    raise ConfigError(
        "What is to be trained is not said, or said twice.",
        where="--config, --resume",
        found=f"{'a' if config else 'no'} config, --resume={again}",
        allowed="--config CONFIG, --resume RUN, or --config CONFIG --resume auto",
    )


def _resume(place: str, say: Say, show: Callable[[Record], None]) -> TrainingOutcome:
    run = RunFolder.open(place)
    if (run.path / SUMMARY_FILE).is_file():
        raise ConfigError(
            "This run has ended: there is nothing to go on with.",
            where=f"--resume {place}",
            fix="evaluate it with jobs/evaluate.py, or train anew",
        )
    say(f"going on with {run.place}")
    return train(run.config(), say, show, run=run)
