"""How many workers, of how many threads, by what the machine or the cluster has."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mtl_ray.cluster import Machine, machines
from mtl_ray.config import Config
from mtl_ray.config.workers import WorkersConfig
from mtl_ray.errors import ConfigError

MOST_THREADS = 8
"""Of one worker. Of two cores one process with two threads made 77,000 samples/s, two with one thread each 67,000 to
73,000: the gradients' exchange costs more than what threads lose. From where on that turns was not measured."""


def with_workers(config: Config) -> tuple[Config, str | None]:
    """The config with a number for `training.workers=auto`, and in words what was chosen and why; None where the config
    leaves nothing to choose.

    One worker a GPU with `training.use_gpu`; else as few a machine as have no more than `MOST_THREADS` cores each, and
    its cores as their threads. `training.cpus_per_worker`, where it is given, is kept. No more than divide the global
    batch size are taken.

    Raises ConfigError where there is neither a GPU nor a CPU for any.
    """
    if not config.training.workers.auto:
        return config, None
    training = config.training
    here = machines()
    cpus = training.cpus_per_worker
    if training.use_gpu:
        room = sum(machine.gpus for machine in here)
        why = f"one for each of {room} GPU{'s' if room != 1 else ''}"
    else:
        if "cpus_per_worker" not in training.model_fields_set:
            cpus = _threads(here)
        room = sum(int(machine.cpus // cpus) for machine in here)
        cores = sum(machine.cpus for machine in here)
        why = f"{cores} cores, up to {MOST_THREADS} threads a worker before a second one"
        if any(machine.gpus for machine in here):
            why += "; there are GPUs, and training.use_gpu is false"
    if room < 1:
        raise ConfigError(
            "There is no room for a worker, so auto cannot tell how many there should be.",
            where="training.workers",
            found=f"auto, and {len(here)} machines with {sum(machine.gpus for machine in here)} GPUs",
            fix="a number, or {min: 1, max: 4} where the cluster's nodes are still to come",
        )
    number = next(number for number in range(room, 0, -1) if training.global_batch_size % number == 0)
    if number < room:
        why += f"; {room} do not divide the {training.global_batch_size:,} rows of a step"
    chosen = training.model_copy(
        update={"workers": WorkersConfig(min=number, max=number), "cpus_per_worker": float(cpus)}
    )
    words = f"training.workers=auto: {number} worker{'s' if number > 1 else ''} of {cpus:g} CPUs ({why})"
    return config.model_copy(update={"training": chosen}), words


def _threads(here: Sequence[Machine]) -> int:
    """Of each worker, as the smallest machine has them."""
    cores = max(1, min((machine.cpus for machine in here), default=1))
    return cores // math.ceil(cores / MOST_THREADS)
