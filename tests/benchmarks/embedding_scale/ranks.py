"""Steps of two processes that train together, on replicated tables and on sharded ones."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import psutil
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mtl_ray.embedding_table import deferred_tables
from mtl_ray.optim.embeddings import RowwiseAdagradConfig
from mtl_ray.optim.sharded import ShardingRequest, shard_tables
from mtl_ray.process_memory import keep_freed_memory
from tests.benchmarks.embedding_scale.steps import (
    BATCH,
    CPU,
    FEATURES,
    MODEL,
    WARM_UP,
    batch_of,
    built,
    schema_of,
    tasks_of,
)
from tests.benchmarks.measure import Side

RANKS, STEPS = 2, 15
Placement = Literal["replicated", "sharded"]


@dataclass
class Ranks:
    """A training of `RANKS` processes with one thread each, by row-wise Adagrad."""

    rows: int
    placement: Placement

    def warm_up(self) -> None:
        """Nothing: imports are done."""

    def run(self) -> dict[str, Any]:
        """Of the rank that needs more of each."""
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(_on_rank, args=(self.rows, self.placement, folder), nprocs=RANKS)
            found = [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(RANKS)]
            return {name: max(own[name] for own in found) for name in found[0]}

    def check(self, result: dict[str, Any]) -> dict[str, Any]:
        """With what they are of."""
        return {"rows": self.rows, "embeddings": self.placement, **result}


def ranks(rows: int, placement: Placement) -> Side:
    """Target of `measure`."""
    return Ranks(rows, placement)


def _on_rank(rank: int, rows: int, placement: Placement, folder: str) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()  # as a worker does
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    if placement == "sharded":
        import torchrec  # noqa: F401 - what it takes by itself is no table
    torch.manual_seed(0)
    schema = schema_of(rows // FEATURES)
    tasks = tasks_of(schema)
    before = _private_mb()
    if placement == "sharded":
        with deferred_tables():
            model = MODEL.build(schema, tasks)
        request = ShardingRequest("row_wise", RANKS, RANKS, "cpu", BATCH, None)
        shard_tables(model, 0, RowwiseAdagradConfig(), 0.01, request, CPU)
    else:
        model = MODEL.build(schema, tasks)
    step = built(model, tasks, "rowwise_adagrad")
    model_mb = _private_mb() - before
    random = torch.Generator().manual_seed(rank)
    taken = []
    for _ in range(WARM_UP + STEPS):
        batch = batch_of(schema, random)
        dist.barrier()
        began = time.perf_counter()
        step(batch)
        taken.append(1e3 * (time.perf_counter() - began))
    found = {"step_ms": median(taken[WARM_UP:]), "model_mb": model_mb, "private_mb": _private_mb()}
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def _private_mb() -> float:
    return float(psutil.Process().memory_full_info().uss / 1e6)
