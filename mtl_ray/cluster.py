"""Connecting to Ray: the cluster that we run in, or a local one of our own that ends with the block."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import ray
import ray.data
import torch

from mtl_ray.errors import ConfigError

DATA_CPUS = 2
"""Logical CPUs of a local cluster beyond those that the workers reserve, so that Ray Data always finds a slot."""

MOST_WORKERS_A_CORE = 8
"""On a local cluster; each worker is a process with hundreds of megabytes."""


@contextmanager
def ray_session(worker_cpus: float) -> Iterator[None]:
    """Run the block with Ray connected, for workers that hold `worker_cpus` CPUs together.

    Joins the Ray that this process already uses, else the cluster that RAY_ADDRESS names (as in a submitted Ray
    job), else starts a local cluster and stops it afterwards. CPUs are logical in Ray: the local cluster offers at
    least `worker_cpus` + DATA_CPUS, also on a machine with fewer cores, because a training whose workers hold every
    CPU would wait for its own input for ever.
    """
    if ray.is_initialized():
        _quiet()
        yield
        return
    # Ray prints what its raylet warns of to stdout, some of it not before it shuts down; stdout is the result's alone.
    with redirect_stdout(sys.stderr):
        if os.environ.get("RAY_ADDRESS"):
            ray.init(log_to_driver=False, logging_level="ERROR")
        else:
            num_cpus = max(os.cpu_count() or 1, math.ceil(worker_cpus) + DATA_CPUS)
            ray.init(
                address="local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
            )
        _quiet()
        try:
            yield
        finally:
            ray.shutdown()


def check_resources(worker_cpus: float, gpus: int) -> None:
    """Raise ConfigError where a local Ray could not offer `worker_cpus` CPUs and `gpus` GPUs.

    What a cluster can offer is not checked: it may be about to grow.
    """
    if ray.is_initialized() or os.environ.get("RAY_ADDRESS"):
        return
    cores = os.cpu_count() or 1
    if worker_cpus > MOST_WORKERS_A_CORE * cores:
        raise ConfigError(
            "This machine is too small for so many workers.",
            where="training.workers * training.cpus_per_worker",
            found=f"{worker_cpus:g} CPUs on {cores} cores",
            allowed=f"at most {MOST_WORKERS_A_CORE} a core, {MOST_WORKERS_A_CORE * cores} here",
            fix="fewer workers, or RAY_ADDRESS set to a cluster",
        )
    if gpus > torch.cuda.device_count():
        raise ConfigError(
            "This machine has too few GPUs.",
            where="training.use_gpu, training.workers",
            found=f"{torch.cuda.device_count()} GPUs for {gpus} workers",
            allowed="one GPU a worker",
            fix="fewer workers, training.use_gpu=false, or RAY_ADDRESS set to a cluster",
        )


def _quiet() -> None:
    """Leave the terminal to our own progress: Ray's notes stay in its log files, its warnings are shown."""
    logging.getLogger("ray").setLevel(logging.WARNING)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
