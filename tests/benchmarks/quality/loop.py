"""The product's training without Ray: the same windows, batches, steps, validation and choice of the best epoch.

Nothing is computed here that `mtl_ray.training.worker` does not compute with one worker; a test holds both against each
other. What falls away is Ray's start and its stream between processes, which no figure depends on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mtl_ray.batch import Batch
from mtl_ray.checkpoint import ModelContext
from mtl_ray.config import Config
from mtl_ray.data.plan import Segment
from mtl_ray.data.snapshot import Snapshot
from mtl_ray.data.stream import batch_columns
from mtl_ray.data.tensors import to_batch
from mtl_ray.data.windows import read_window
from mtl_ray.training.launch import plan_batches
from mtl_ray.training.state import TrainingState
from mtl_ray.training.step import TrainStep
from mtl_ray.training.validation import Groups, is_better, validate

DEVICE = torch.device("cpu")


@dataclass(frozen=True)
class Trained:
    """What a training left; the best epoch's checkpoint lies in the folder that it was given."""

    best_epoch: int | None
    """1-based; None where the metric was never a number."""
    epochs: tuple[dict[str, float], ...]
    """Validation metrics after each epoch, `<task>/<metric>` and `loss`."""
    parameters: int


def train_here(config: Config, snapshot: Snapshot, out: Path) -> Trained:
    """Train as one Ray worker would, and leave the best epoch's checkpoint alone in `out`."""
    torch.manual_seed(config.seed)
    statistics = snapshot.manifest.label_statistics
    tasks = {name: task.build(name, statistics[name]) for name, task in config.tasks.items()}
    model = config.model.build(snapshot.schema, tasks)
    if config.training.precision == "fp64":
        model.double()
    plan = plan_batches(config, snapshot)
    context = ModelContext(
        training_set=snapshot.manifest.id,
        batch_schema=snapshot.schema,
        preprocessing=snapshot.manifest.preprocessing,
        label_statistics=statistics,
    )
    state = TrainingState.create(config, context, model, plan.total_batches)
    step = TrainStep(
        model,
        tasks,
        state.weighting,
        state.optimizer,
        state.schedule,
        config.training.clip_norm,
        config.training.precision,
        DEVICE,
        state.aggregation,
        config.aggregation.on,
        config.training.max_skipped_steps,
        config.training.accumulate,
    )
    stopping = config.training.early_stopping
    epochs: list[dict[str, float]] = []
    while state.position.epoch <= config.training.epochs:
        epoch = state.position.epoch
        for done, (batch, _) in enumerate(batches(plan.train_segment(epoch), config, snapshot), start=1):
            torch.manual_seed(hash((config.seed, 0, state.position.step)) % 2**63)
            step(batch)
            state.advance(batch=done)
        state.weighting.end_epoch(step.epoch_totals.means())
        step.epoch_totals.reset()
        validation = batches(plan.validation_segment(epoch), config, snapshot)
        values = validate(state.served, validation, tasks, DEVICE, config.training.precision)
        losses = {name: values[f"{name}/loss"] for name in tasks}
        values["loss"] = sum(config.tasks[name].weight * loss for name, loss in losses.items() if loss == loss)
        epochs.append(values)
        value = values[stopping.metric.removeprefix("validation/")]
        better = is_better(value, state.position.best, stopping.greater_is_better, stopping.min_delta)
        state.end_epoch(value, better)
        if better:
            shutil.rmtree(out)
            out.mkdir()
            state.save(out)
        if stopping.patience is not None and state.position.epochs_without_better >= stopping.patience:
            break
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Trained(state.position.best_epoch, tuple(epochs), parameters)


def batches(segment: Segment, config: Config, snapshot: Snapshot) -> Iterator[tuple[Batch, Groups | None]]:
    """The segment's global batches in order, each with the group of every row where the config groups."""
    group_by = config.evaluation.group_by
    columns = [*batch_columns(snapshot.schema), *([group_by] if group_by else [])]
    for index in range(segment.windows):
        table = read_window(segment.window(index), columns)
        for begin in range(0, table.num_rows, segment.global_batch_size):
            share = table.slice(begin, segment.global_batch_size)
            groups: Groups | None = np.asarray(share.column(group_by)) if group_by else None
            yield to_batch(share, snapshot.schema), groups
