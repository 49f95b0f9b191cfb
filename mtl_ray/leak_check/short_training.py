"""A short training in this process, and its scores of the test part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mtl_ray.batch import Batch
from mtl_ray.config import Config
from mtl_ray.data.snapshot import Snapshot
from mtl_ray.data.tensors import to_batch
from mtl_ray.metrics.metric import Array
from mtl_ray.optim import ScheduleConfig, build_optimizer, build_schedule
from mtl_ray.tasks import BinaryTaskConfig, Task
from mtl_ray.training.frozen import freeze
from mtl_ray.training.state import weighting_context
from mtl_ray.training.step import TrainStep

STEPS_AN_EPOCH = 200
"""A sample is a small part of the data; with the run's own batch size it would see a handful of steps."""

SMALLEST_BATCH = 64
_TEST_BATCH = 8192

_THREADED_BATCH = 1024
"""In smaller batches torch's threads wait for each other longer than they compute (two cores, 64 rows: 1.6 times as
long as one thread, and far longer beside other work)."""


@dataclass(frozen=True)
class Scores:
    """The binary tasks' predictions of the n test rows, by S trainings that differ in their seed alone."""

    row_id: npt.NDArray[np.int64]
    """`[n]`, position in the sample, rising."""
    group: Array | None
    """`[n]`."""
    label: dict[str, npt.NDArray[np.float32]]
    """`[n]`, 0 where not observed."""
    observed: dict[str, npt.NDArray[np.bool_]]
    """`[n]`."""
    prediction: dict[str, npt.NDArray[np.float32]]
    """`[n, S]`, probabilities."""


def train_and_score(config: Config, snapshot: Snapshot, epochs: int, seeds: int) -> Scores:
    """Train `seeds` models of the config on the snapshot's training part and predict its test part.

    The model, losses, task and loss weights, optimizer and clipping are the config's. Deviations from the real run:
    batches small enough for `STEPS_AN_EPOCH` steps, at most a tenth of all steps to warm up where the config counts
    them, float32, neither early stopping nor validation, one process. Both parts are held in memory. Raises
    DivergedError.
    """
    gpu = config.training.use_gpu and torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    train, _ = _rows(snapshot, "train", None)
    test, group = _rows(snapshot, "test", config.evaluation.group_by)
    predictions = [
        _train(config, snapshot, train, test, epochs, config.seed + number, device) for number in range(seeds)
    ]
    binary = {name: column for column, name in enumerate(config.tasks) if name in predictions[0]}
    order = np.argsort(test.row_id.numpy())
    return Scores(
        row_id=test.row_id.numpy()[order],
        group=None if group is None else group[order],
        label={name: test.labels[:, column].numpy()[order] for name, column in binary.items()},
        observed={name: test.observed[:, column].numpy()[order] for name, column in binary.items()},
        prediction={name: np.stack([found[name] for found in predictions], axis=1)[order] for name in binary},
    )


def _train(
    config: Config, snapshot: Snapshot, train: Batch, test: Batch, epochs: int, seed: int, device: torch.device
) -> dict[str, npt.NDArray[np.float32]]:
    """Binary task -> predictions of the test rows `[n]`."""
    statistics = snapshot.manifest.label_statistics
    tasks: dict[str, Task] = {name: task.build(name, statistics[name]) for name, task in config.tasks.items()}
    torch.manual_seed(seed)
    model = config.model.build(snapshot.schema, tasks).to(device)
    size = min(config.training.global_batch_size, max(SMALLEST_BATCH, len(train) // STEPS_AN_EPOCH))
    steps = -(-len(train) // size) * epochs
    freeze(model, config.training.frozen)
    weighting = config.weighting.build(weighting_context(config, statistics)).to(device)
    optimizer = build_optimizer(config.training.optimizer, model, list(weighting.parameters()), weighting.learning_rate)
    step = TrainStep(
        model,
        tasks,
        weighting,
        optimizer,
        build_schedule(_shortened(config.training.schedule), optimizer, steps),
        config.training.clip_norm,
        "fp32",
        device,
    )
    order = torch.Generator().manual_seed(seed)
    with _threads_for(size):
        for _ in range(epochs):
            shuffled = torch.randperm(len(train), generator=order)
            for begin in range(0, len(train), size):
                step(train.taken(shuffled[begin : begin + size]))
            weighting.end_epoch(step.totals.means())
            step.totals.reset()
    return _predict(model, tasks, config, test, device)


@torch.inference_mode()
def _predict(
    model: torch.nn.Module, tasks: dict[str, Task], config: Config, test: Batch, device: torch.device
) -> dict[str, npt.NDArray[np.float32]]:
    model.eval()
    found: dict[str, list[Tensor]] = {
        name: [] for name, task in config.tasks.items() if isinstance(task, BinaryTaskConfig)
    }
    for begin in range(0, len(test), _TEST_BATCH):
        batch = test.taken(slice(begin, begin + _TEST_BATCH)).to(device)
        logits = model(batch)
        for name, parts in found.items():
            parts.append(tasks[name].predict(logits[name], batch.task_inputs).float().cpu())
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


@contextmanager
def _threads_for(batch_size: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if batch_size < _THREADED_BATCH:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _shortened(schedule: ScheduleConfig) -> ScheduleConfig:
    """Without a warm-up that is longer than the training."""
    if schedule.warmup_steps is None:
        return schedule
    return schedule.model_copy(update={"warmup_steps": None, "warmup_fraction": 0.1 if schedule.warmup_steps else 0.0})


def _rows(snapshot: Snapshot, part: str, group_by: str | None) -> tuple[Batch, Array | None]:
    table = pa.concat_tables(_tables(snapshot, part)).combine_chunks()
    group = None if group_by is None else np.asarray(table[group_by].to_pandas())
    return to_batch(table, snapshot.schema), group


def _tables(snapshot: Snapshot, part: str) -> Iterator[pa.Table]:
    for path, _ in snapshot.files(part):
        yield pq.read_table(path, partitioning=None)
