"""Connecting to Ray: the cluster that we run in, or a local one of our own that ends with the block."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import ray.data

DATA_CPUS = 2
"""Logical CPUs of a local cluster beyond those that the workers reserve, so that Ray Data always finds a slot."""


@contextmanager
def ray_session(worker_cpus: float) -> Iterator[None]:
    """Run the block with Ray connected.

    Joins the Ray that this process already uses, else the cluster that RAY_ADDRESS names (as in a submitted Ray
    job), else starts a local cluster and stops it afterwards. CPUs are logical in Ray: the local cluster offers at
    least `worker_cpus` + DATA_CPUS, also on a machine with fewer cores, because a training whose workers hold every
    CPU would wait for its own input for ever.
    """
    if ray.is_initialized():
        _quiet()
        yield
        return
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


def _quiet() -> None:
    """Leave the terminal to our own progress: Ray's notes stay in its log files, its warnings are shown."""
    logging.getLogger("ray").setLevel(logging.WARNING)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
