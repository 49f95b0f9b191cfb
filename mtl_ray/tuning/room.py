"""What the trials of a search need, and whether the cluster has it."""

from __future__ import annotations

import math

import ray

from mtl_ray.autoscaler import scales_itself
from mtl_ray.cluster import check_growth
from mtl_ray.config import Config, TrainingConfig
from mtl_ray.errors import ConfigError
from mtl_ray.tuning.settings import SearchSettings


def needed(config: Config, settings: SearchSettings) -> tuple[float, float]:
    """CPUs and GPUs of a trial."""
    training = config.training
    return training.workers.max * training.cpus_per_worker, _gpus(training, settings.gpu_share)


def _gpus(training: TrainingConfig, share: float) -> float:
    if not training.use_gpu:
        return 0.0
    return share if training.workers.max == 1 else float(training.workers.max)


def check_room(cpus: float, gpus: float, config: Config) -> None:
    """Raise ConfigError where the cluster could never start a trial: Tune would wait for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    training = config.training
    each = sum(int(node.get("CPU", 0.0) / training.cpus_per_worker) for node in nodes)
    present = ray.cluster_resources()
    if each >= training.workers.max and present.get("GPU", 0.0) >= gpus:
        return
    if scales_itself():
        check_growth(training.workers.max, training.cpus_per_worker, gpus / training.workers.max)
        return
    raise ConfigError(
        "A trial needs more than the cluster has.",
        where="training.workers, training.cpus_per_worker, training.use_gpu",
        found=f"{training.workers.max} workers of {training.cpus_per_worker:g} CPUs, {gpus:g} GPUs: {cpus:g} CPUs",
        allowed=f"{present.get('CPU', 0.0):g} CPUs on {len(nodes)} nodes, {present.get('GPU', 0.0):g} GPUs",
        fix="less for a trial, or a larger cluster",
    )


def share_of_cpus(at_a_time: int) -> float:
    """CPUs that a trial holds so that no more than `at_a_time` fit, as far as that goes on one node each."""
    nodes = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
    return float(min(max(nodes), math.floor(sum(nodes) / at_a_time)))
