"""A Ray cluster on this machine for one command, that leaves the cores to the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import ray
from ray._private import worker
from ray._private.ray_constants import PROCESS_TYPE_RAYLET

from mtl_ray.environment import unless_set

FRUGAL = {
    # No dashboard and no timeline ask for these.
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_task_events_report_interval_ms": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "600000",
    # Ray keeps a process a core for the next task; a training whose rows are read has none.
    "RAY_num_workers_soft_limit": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "30000",
    # An actor of each training that would wait for this machine to be taken away.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
"""Environment of the cluster and its trainings, where the user's own says nothing else.

A local Ray (2.60) is more than ten processes. Each wakes up a hundred times a second without being asked and holds a
rank up, for which all ranks wait: with two workers on two cores eight of them cost 8 % of the training's speed.
"""

SECONDS_TO_END = 5.0
"""For processes of the cluster once Ray has stopped."""


def is_local() -> bool:
    """Whether the Ray that we are connected to was started by this process, and ends with it."""
    node = worker._global_node
    return node is not None and node.head and ray.is_initialized()


@contextmanager
def local_cluster(num_cpus: int) -> Iterator[None]:
    """Start a cluster with `num_cpus` logical CPUs, connected to; stopped where the block ends, every process of it."""
    with unless_set(FRUGAL):
        try:
            ray.init(
                address="local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
            )
            # It copies what workers print to drivers, and ours does not listen.
            worker._global_node.kill_log_monitor(check_alive=False)
            yield
        finally:
            workers = _worker_processes()
            ray.shutdown()
            _end(workers)


def _worker_processes() -> list[psutil.Process]:
    node = worker._global_node
    raylets = [] if node is None else node.all_processes.get(PROCESS_TYPE_RAYLET, [])
    found: list[psutil.Process] = []
    for raylet in raylets:
        with suppress(psutil.NoSuchProcess):
            found += psutil.Process(raylet.process.pid).children(recursive=True)
    return found


def _end(processes: list[psutil.Process]) -> None:
    """Kill those that are still there in a while: Ray (2.60) forgets an actor as soon as it begins to exit, and leaves
    one that hangs in its exit behind."""
    _, hanging = psutil.wait_procs(processes, timeout=SECONDS_TO_END)
    for process in hanging:
        with suppress(psutil.NoSuchProcess):
            process.kill()
