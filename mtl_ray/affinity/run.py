"""From a config to proposed groupings: one training in which affinity is measured."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mtl_ray.affinity.evidence import REPLICATES, Evidence
from mtl_ray.affinity.grouping import MOST_TASKS
from mtl_ray.affinity.page import write_page
from mtl_ray.affinity.result import TaskAffinity
from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import Config
from mtl_ray.data.staging import ResultFolder
from mtl_ray.errors import ConfigError, MtlRayError
from mtl_ray.storage import below
from mtl_ray.training.launch import plan_batches, train, verified_training_set
from mtl_ray.training.progress import Record

FEWEST_STEPS = 12
"""Measured steps below which an interval would say nothing."""

SHOWN = (2, 4)
"""Smallest and largest number of groups that are proposed where none is asked for."""


def measure_affinity(
    config: Config, groups: int | None, say: Callable[[str], None], show: Callable[[Record], None]
) -> TaskAffinity:
    """Train once as `mtl_ray.training.launch.train` does, and propose which tasks to train together.

    Args:
        config: with `training.affinity_every`; `<storage>/task_affinity/<name>/` receives the page and the result.
        groups: largest number of groups; None: proposals for 2, 3 and 4, as far as there are tasks.
        say: receives a sentence whenever a stage begins.
        show: receives every record that the workers post, from another thread.

    Raises:
        UserError: something that the user can mend, before any worker has started.
        MtlRayError: training failed.
    """
    names = tuple(config.tasks)
    numbers = group_numbers(len(names), groups)
    every = config.training.affinity_every
    if every is None:
        raise ConfigError("No step is measured.", where="training.affinity_every", found="null", allowed="1 or more")
    folder = ResultFolder.at(below(config.storage, "task_affinity", config.name))
    snapshot = verified_training_set(config, say)
    planned = plan_batches(config, snapshot).batches_per_epoch * config.training.epochs
    check_steps(planned, every)
    outcome = train(config, say, show, snapshot)
    say("comparing groupings")
    record = load_checkpoint(outcome.run.checkpoint("last")).training_state()["affinity"]
    affinity_MTT = record["affinity"].to(torch.float64).numpy()
    if len(affinity_MTT) < FEWEST_STEPS:
        raise MtlRayError(
            f"Training ended after {outcome.summary['steps']} steps, of which {len(affinity_MTT)} were measured; "
            f"at least {FEWEST_STEPS} are needed.\n"
            f"  run:     {outcome.run.place}\n"
            "  fix:     a smaller --every, or training.early_stopping.patience=null"
        )
    evidence = Evidence(affinity_MTT, config.evaluation.confidence, config.seed)
    found = TaskAffinity(
        name=config.name,
        tasks=names,
        every=every,
        training_steps=outcome.summary["steps"],
        steps=len(affinity_MTT),
        replicates=REPLICATES,
        confidence=config.evaluation.confidence,
        block=evidence.block,
        affinity=evidence.matrix,
        thirds=evidence.thirds,
        together=evidence.together,
        groupings=evidence.groupings(names, numbers),
        run=outcome.run.place,
    )
    found = write_page(found, folder)
    folder.publish()
    return found


def group_numbers(tasks: int, groups: int | None) -> tuple[int, ...]:
    """Largest numbers of groups to propose groupings for. Raises ConfigError where there is nothing to group, too much,
    or more groups than tasks."""
    if not 2 <= tasks <= MOST_TASKS:
        raise ConfigError(
            "There is nothing to group: affinity is between tasks."
            if tasks < 2
            else "So many tasks cannot be grouped: every set of them is looked at.",
            where="tasks",
            found=f"{tasks} task{'s' if tasks > 1 else ''}",
            allowed=f"2 to {MOST_TASKS}",
            fix="add a task" if tasks < 2 else "leave out tasks that are sure to be trained by themselves",
        )
    if groups is None:
        return tuple(range(SHOWN[0], min(tasks, SHOWN[1]) + 1))
    if not 2 <= groups <= tasks:
        raise ConfigError(
            "The tasks cannot be divided into so many groups.",
            where="--groups",
            found=groups,
            allowed=f"2 to {tasks}, the number of tasks",
        )
    return (groups,)


def check_steps(planned: int, every: int) -> None:
    """Raise ConfigError where a training of `planned` steps would measure too few of them."""
    if -(-planned // every) < FEWEST_STEPS:
        smaller = (planned - 1) // (FEWEST_STEPS - 1)
        raise ConfigError(
            f"Too few steps would be measured: {-(-planned // every)} of {planned}.",
            where="--every",
            found=every,
            allowed=f"at most {smaller}, for {FEWEST_STEPS} measured steps" if smaller else "a longer training",
            fix="a smaller --every, more training.epochs or a smaller training.global_batch_size",
        )
