"""A training loop by hand: tensors in memory, processes of torch.multiprocessing, DistributedDataParallel.

Model, optimizer and clipping are ours; batches, epochs and losses are not. The gradients of the embedding rows are
brought together by DistributedDataParallel, as in any loop by hand, or by this package's own exchange: then all that is
left of the difference is the way of the rows from the snapshot to the step, and what Ray takes.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.parallel import DistributedDataParallel

from mtl_ray.config import Config
from mtl_ray.data.snapshot import Snapshot, open_snapshot
from mtl_ray.optim import build_optimizer
from mtl_ray.training.backward.ranks import sparse_tables
from mtl_ray.training.backward.row_exchange import RowExchange
from mtl_ray.training.clip import clip_gradients
from mtl_ray.training.step import autocast
from tests.benchmarks.measure import Side
from tests.benchmarks.quality.encoded_rows import EncodedRows
from tests.benchmarks.train_throughput.workload import configured


@dataclass
class Loop:
    """One training."""

    config: Config
    snapshot: Snapshot
    our_exchange: bool

    def warm_up(self) -> None:
        """Nothing: imports are done."""

    def run(self) -> list[float]:
        """Samples a second over all processes, of each epoch."""
        workers = self.config.training.workers.max
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(train_rank, args=(workers, self.config, self.snapshot, self.our_exchange, folder), nprocs=workers)
            found: list[float] = json.loads((Path(folder) / "rates.json").read_text())
            return found

    def check(self, result: list[float]) -> dict[str, Any]:
        """As ours."""
        return {"samples_per_second": result}


def train_rank(rank: int, workers: int, config: Config, snapshot: Snapshot, our_exchange: bool, folder: str) -> None:
    """One process with one thread."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=workers)
    torch.manual_seed(0)
    statistics = snapshot.manifest.label_statistics
    tasks = {name: task.build(name, statistics[name]) for name, task in config.tasks.items()}
    model = config.model.build(snapshot.schema, tasks)
    optimizer = build_optimizer(config.training.optimizer, model)
    tables = sparse_tables(model)
    merge_rows: Callable[[], None] = partial(coalesce, tables)
    if our_exchange:
        merge_rows = RowExchange(tables)
        names = [name for name, parameter in model.named_parameters() if any(parameter is table for table in tables)]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
    wrapped = DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)
    rows = EncodedRows.read(snapshot, "train").batch
    own = torch.arange(rank, len(rows) // workers * workers, workers)
    size = config.training.global_batch_size // workers
    rates = []
    for _ in range(config.training.epochs):
        dist.barrier()
        began = time.perf_counter()
        order = own[torch.randperm(len(own))]
        for chosen in order.split(size):
            batch = rows.taken(chosen)
            optimizer.zero_grad(set_to_none=True)
            with autocast(batch.numeric.device, config.training.precision):
                logits = wrapped(batch)
            losses = [
                binary_cross_entropy_with_logits(logits[name].squeeze(1).float(), batch.labels[:, at])
                for at, name in enumerate(tasks)
            ]
            torch.stack(losses).sum().backward()
            merge_rows()
            if config.training.clip_norm is not None:
                clip_gradients(model.parameters(), config.training.clip_norm)
            optimizer.step()
        dist.barrier()
        rates.append(len(own) * workers / (time.perf_counter() - began))
    if rank == 0:
        (Path(folder) / "rates.json").write_text(json.dumps(rates))
    dist.destroy_process_group()


def coalesce(tables: Sequence[nn.Parameter]) -> None:
    """Each row of the gradients once, as the optimizer and clipping need it."""
    for table in tables:
        if table.grad is not None:
            table.grad = table.grad.coalesce()


def loop(
    folder: str, snapshot: str, workers: int, epochs: int, options: dict[str, Any], our_exchange: bool = False
) -> Side:
    """Target of `measure`; `options` of `configured`."""
    return Loop(configured(folder, workers, epochs, **options), open_snapshot(snapshot), our_exchange)
