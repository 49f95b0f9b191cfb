"""Seconds a step of every method, taken in turn, in one process or in several that train together."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mtl_ray.aggregation import AggregationContext
from mtl_ray.optim import OptimizerConfig, ScheduleConfig, build_optimizer, build_schedule
from mtl_ray.process_memory import keep_freed_memory
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import WeightingContext
from tests.benchmarks.balancing import workload
from tests.benchmarks.balancing.methods import PLAIN, Method, methods

WARM_UP, STEPS = 2, 4
TURNS = 3
"""Between two turns of the plain sum: the machine's speed changes within a round."""
Turn = tuple[float, float]
"""Seconds a step of a method, and of the plain sum just before."""


def seconds(num_tasks: int, workers: int, names: Sequence[str], rounds: int) -> dict[str, list[Turn]]:
    """Method -> its turn in each round; the methods take turns within a round."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_on_rank, args=(num_tasks, workers, list(names), rounds, folder), nprocs=workers)
        found = json.loads((Path(folder) / "seconds.json").read_text())
        return {name: [(own, plain) for own, plain in turns] for name, turns in found.items()}


def _on_rank(rank: int, num_tasks: int, workers: int, names: list[str], rounds: int, folder: str) -> None:
    torch.set_num_threads(max(1, (torch.get_num_threads()) // workers))
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=workers)
    keep_freed_memory()  # as a worker does
    known = methods()
    batches = [workload.batch(num_tasks, seed=10 * number + rank) for number in range(WARM_UP + STEPS)]
    found: dict[str, list[Turn]] = {name: [] for name in names}
    for number in range(rounds):
        plain = 0.0
        for at, name in enumerate(names if number % 2 == 0 else reversed(names)):
            if at % TURNS == 0:
                plain = _seconds_of(known[PLAIN], num_tasks, batches)
            found[name].append((_seconds_of(known[name], num_tasks, batches), plain))
    if rank == 0:
        (Path(folder) / "seconds.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def _seconds_of(method: Method, num_tasks: int, batches: Sequence[object]) -> float:
    torch.manual_seed(0)
    tasks = workload.tasks(num_tasks)
    model = workload.MODEL.build(workload.schema(num_tasks), tasks)
    weighting = method.weighting.build(WeightingContext(dict.fromkeys(tasks, 1.0), {}, dict.fromkeys(tasks, "binary")))
    aggregation = None if method.aggregation is None else method.aggregation.build(AggregationContext(list(tasks)))
    optimizer = build_optimizer(OptimizerConfig(), model, list(weighting.parameters()), weighting.learning_rate)
    step = TrainStep(
        model,
        tasks,
        weighting,
        optimizer,
        build_schedule(ScheduleConfig(), optimizer, 100),
        1.0,
        "fp32",
        torch.device("cpu"),
        aggregation,
        method.on,
    )
    for batch in batches[:WARM_UP]:
        step(batch)  # type: ignore[arg-type]
    dist.barrier()
    steps = method.period * math.ceil(STEPS / method.period)
    began = time.perf_counter()
    for batch in islice(cycle(batches[WARM_UP:]), steps):
        step(batch)  # type: ignore[arg-type]
    dist.barrier()
    return (time.perf_counter() - began) / steps
