"""Connecting to Ray: the cluster that we run in, or a local one of our own that ends with the block."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import NamedTuple

import ray
import ray.data
import torch

from mtl_ray.autoscaler import cannot_grow_for, scales_itself
from mtl_ray.errors import ConfigError
from mtl_ray.local_cluster import local_cluster
from mtl_ray.ray_address import check_answers, no_answer

DRIVER_MEMORY = 800 * 2**20
"""What a training's driver in a process of Ray's takes, with the controller that Ray Train starts beside it."""

NODES_JOIN_SECONDS = 15.0
"""For how long nodes may be missing from a cluster that does not scale itself."""

MOST_WORKERS_A_CORE = 8
"""On a local cluster; each worker is a process with hundreds of megabytes."""


@contextmanager
def ray_session(worker_cpus: float) -> Iterator[None]:
    """Run the block with Ray connected, for workers that hold `worker_cpus` CPUs together.

    Joins the Ray that this process already uses, else the cluster that RAY_ADDRESS names (as in a submitted Ray
    job), else starts a local cluster and stops it afterwards. CPUs are logical in Ray: the local cluster offers at
    least `worker_cpus`, also on a machine with fewer cores. Raises ClusterError where no cluster answers at
    RAY_ADDRESS.
    """
    if ray.is_initialized():
        _quiet()
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    local_cpus = max(os.cpu_count() or 1, math.ceil(worker_cpus))
    # Ray prints what its raylet warns of to stdout, some of it not before it shuts down; stdout is the result's alone.
    with redirect_stdout(sys.stderr), _joined(address) if address else local_cluster(local_cpus):
        _quiet()
        yield


@contextmanager
def _joined(address: str) -> Iterator[None]:
    check_answers(address)
    try:
        ray.init(log_to_driver=False, logging_level="ERROR")
    except ConnectionError as error:
        raise no_answer(address, str(error).splitlines()[0]) from error
    try:
        yield
    finally:
        ray.shutdown()


class Machine(NamedTuple):
    """What a machine has to compute with."""

    cpus: int
    gpus: int


def machines() -> list[Machine]:
    """The nodes of the cluster that RAY_ADDRESS names, or that we are connected to; or this machine. Nodes without a
    CPU are left out."""
    if not (ray.is_initialized() or os.environ.get("RAY_ADDRESS")):
        return [Machine(len(os.sched_getaffinity(0)), torch.cuda.device_count())]
    with ray_session(0.0):
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    found = [Machine(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
    return [machine for machine in found if machine.cpus]


def driver_memory() -> int:
    """Bytes of the cluster that we are connected to, to reserve for a training's driver in a process of Ray's; no more
    than the largest node has, which would be waited for.

    No CPU: the least part of one would leave no room for workers that are to have every CPU of the cluster.
    """
    largest = max(node["Resources"].get("memory", 0.0) for node in ray.nodes() if node["Alive"])
    return max(1, int(min(DRIVER_MEMORY, largest)))


def check_resources(worker_cpus: float, gpus: int) -> None:
    """Raise ConfigError where a local Ray could not offer `worker_cpus` CPUs and `gpus` GPUs.

    What a cluster can offer is only known when we are connected to it: see `check_cluster`. Raises ClusterError where
    none answers at RAY_ADDRESS.
    """
    if ray.is_initialized():
        return
    if os.environ.get("RAY_ADDRESS"):
        check_answers(os.environ["RAY_ADDRESS"])
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


def check_cluster(workers: int, cpus_per_worker: float, use_gpu: bool) -> None:
    """Raise ConfigError where the cluster that we are connected to can never offer the workers their resources.

    It is judged by its nodes, whoever holds them now, for which a cluster that is just starting is given
    `NODES_JOIN_SECONDS`. One that scales itself and has too few is judged by what its autoscaler says.
    """
    cpus = workers * cpus_per_worker
    scales = scales_itself()
    deadline = time.monotonic() + (0.0 if scales else NODES_JOIN_SECONDS)
    while True:
        places, free_cpus, gpus = _of_nodes(cpus_per_worker)
        if places >= workers and free_cpus >= cpus and gpus >= workers * use_gpu:
            return
        if time.monotonic() >= deadline:
            break
        time.sleep(0.5)
    if scales:
        check_growth(workers, cpus_per_worker, float(use_gpu))
        return
    _check_fits(free_cpus, gpus, workers, cpus, use_gpu)
    if places < workers:
        raise ConfigError(
            "No node of the cluster is large enough for so many workers.",
            where="training.workers, training.cpus_per_worker",
            found=f"{workers} workers of {cpus_per_worker:g} CPUs, and places for {places}",
            fix="fewer workers, fewer CPUs for each, or larger nodes",
        )


def check_growth(workers: int, cpus_per_worker: float, gpus_per_worker: float) -> None:
    """Raise ConfigError where the autoscaler of the cluster says that it has no nodes for the workers.

    It counts what others hold as gone, and cannot know when they end.
    """
    worker = {"CPU": cpus_per_worker, **({"GPU": gpus_per_worker} if gpus_per_worker else {})}
    if cannot_grow_for([worker] * workers):
        each = f"{cpus_per_worker:g} CPUs" + (f" and {gpus_per_worker:g} GPUs" if gpus_per_worker else "")
        raise ConfigError(
            "The cluster has no room for so many workers, and cannot grow for them.",
            where="training.workers, training.cpus_per_worker, training.use_gpu",
            found=f"{workers} workers of {each}: its autoscaler has no nodes for them",
            fix="fewer workers, less for each, higher limits of the cluster's node groups, or wait for others to end",
        )


def _of_nodes(cpus_per_worker: float) -> tuple[int, float, float]:
    """Workers that fit, CPUs and GPUs of the nodes that are there."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    places = sum(int(node.get("CPU", 0) // cpus_per_worker) for node in nodes)
    return places, sum(node.get("CPU", 0) for node in nodes), sum(node.get("GPU", 0) for node in nodes)


def _check_fits(cpus: float, gpus: float, workers: int, needed: float, use_gpu: bool) -> None:
    if needed > cpus:
        raise ConfigError(
            "The cluster is too small for so many workers.",
            where="training.workers * training.cpus_per_worker",
            found=f"{needed:g} CPUs; the cluster has {cpus:g}",
            fix="fewer workers, training.cpus_per_worker, or a larger cluster",
        )
    if use_gpu and workers > gpus:
        raise ConfigError(
            "The cluster has too few GPUs.",
            where="training.use_gpu, training.workers",
            found=f"{workers} workers; the cluster has {gpus:g} GPUs",
            allowed="one GPU a worker",
            fix="fewer workers, training.use_gpu=false, or a larger cluster",
        )


def _quiet() -> None:
    """Leave the terminal to our own progress: Ray's notes stay in its log files, its warnings are shown."""
    logging.getLogger("ray").setLevel(logging.WARNING)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
