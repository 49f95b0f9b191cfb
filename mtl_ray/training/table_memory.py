"""How much memory a worker has for embedding tables, and what the planner of sharded ones is told of the workers."""

from __future__ import annotations

import os
from collections.abc import Sequence

import ray
import torch

from mtl_ray.cluster import ray_session
from mtl_ray.config import TrainingConfig
from mtl_ray.machine_memory import whole_memory
from mtl_ray.optim.sharded import ShardingRequest


def table_memory(training: TrainingConfig) -> int | None:
    """Bytes of a worker's device for tables, with what their optimizer keeps and a step exchanges.

    `training.memory_per_worker`, or else half of what the machine, or the smallest node of the cluster, has, over the
    workers that it takes; of a GPU, half of its memory. None: the GPUs are of other machines.
    """
    if training.memory_per_worker is not None:
        return int(training.memory_per_worker)
    if training.use_gpu:
        return torch.cuda.mem_get_info()[1] // 2 if torch.cuda.is_available() else None
    if not (ray.is_initialized() or os.environ.get("RAY_ADDRESS")):
        return whole_memory() // 2 // training.workers.max
    with ray_session(0.0):
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if len(nodes) == 1:
        return whole_memory() // 2 // training.workers.max
    return _of_nodes([(node.get("CPU", 0.0), node.get("memory", 0.0)) for node in nodes], training)


def sharding_request(training: TrainingConfig, ranks: int, ranks_a_machine: int, memory: int | None) -> ShardingRequest:
    """For so many `ranks`; `memory`: as `table_memory` gives it."""
    return ShardingRequest(
        sharding=training.sharding,
        ranks=ranks,
        ranks_a_machine=ranks_a_machine,
        device="cuda" if training.use_gpu else "cpu",
        batch_rows=-(-training.global_batch_size // ranks),
        memory=memory,
    )


def _of_nodes(nodes: Sequence[tuple[float, float]], training: TrainingConfig) -> int | None:
    """`nodes`: CPUs and bytes of each."""
    shares = []
    for cpus, memory in nodes:
        workers = min(int(cpus // training.cpus_per_worker), training.workers.max)
        if workers:
            shares.append(int(memory) // 2 // workers)
    return min(shares, default=None)
