"""The passes over the training part that are timed, in one process or in several."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from mtl_ray.batch import Batch
from mtl_ray.data.snapshot import open_snapshot
from mtl_ray.process_memory import keep_freed_memory
from mtl_ray.training.validation import Groups, validate
from tests.benchmarks.quality.encoded_rows import EncodedRows
from tests.benchmarks.train_throughput.workload import configured

BATCH = 4096
USERS = 10_000
PASSES = ("predictions", "metrics", "metrics by user")
"""Logits and nothing else; losses and metrics as in a training's validation, exact over all processes; GAUC too."""
Turn = dict[str, float]
"""Pass -> rows a second over all processes."""
CPU = torch.device("cpu")


def rows_a_second(folder: str, snapshot: str, workers: int, rounds: int) -> list[Turn]:
    """Every pass in every round, in turn."""
    with tempfile.TemporaryDirectory() as shared:
        mp.spawn(_on_rank, args=(workers, folder, snapshot, rounds, shared), nprocs=workers)
        found: list[Turn] = json.loads((Path(shared) / "turns.json").read_text())
        return found


def _on_rank(rank: int, workers: int, folder: str, snapshot: str, rounds: int, shared: str) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()  # as a worker does
    dist.init_process_group("gloo", init_method=f"file://{shared}/store", rank=rank, world_size=workers)
    torch.manual_seed(0)
    config, opened = configured(folder, workers), open_snapshot(snapshot)
    statistics = opened.manifest.label_statistics
    tasks = {name: task.build(name, statistics[name]) for name, task in config.tasks.items()}
    model = config.model.build(opened.schema, tasks)
    rows = EncodedRows.read(opened, "train").batch
    own = torch.arange(rank, len(rows) // workers * workers, workers)
    users = np.random.default_rng(0).integers(0, USERS, len(rows))
    parts: list[tuple[Batch, Groups]] = [(rows.taken(chosen), users[chosen.numpy()]) for chosen in own.split(BATCH)]
    turns: list[Turn] = []
    for _ in range(rounds + 1):
        turn = {}
        for name in PASSES:
            dist.barrier()
            began = time.perf_counter()
            if name == "predictions":
                predict(model, parts)
            else:
                validate(model, batches(parts, name == "metrics by user"), tasks, CPU, "fp32")
            dist.barrier()
            turn[name] = len(own) * workers / (time.perf_counter() - began)
        turns.append(turn)
    if rank == 0:
        (Path(shared) / "turns.json").write_text(json.dumps(turns[1:]))  # the first round warms up
    dist.destroy_process_group()


@torch.inference_mode()
def predict(model: nn.Module, parts: list[tuple[Batch, Groups]]) -> None:
    """Logits of all rows."""
    model.eval()
    for batch, _ in parts:
        model(batch)


def batches(parts: list[tuple[Batch, Groups]], grouped: bool) -> Iterator[tuple[Batch, Groups | None]]:
    """As validation reads them."""
    for batch, groups in parts:
        yield batch, groups if grouped else None
