"""One pass over the validation part, exact over ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mtl_ray import distributed
from mtl_ray.batch import Batch
from mtl_ray.metrics import Metric
from mtl_ray.tasks import Task
from mtl_ray.tasks.losses import validation_losses
from mtl_ray.training.step import LossTotals, autocast, to_precision

Groups = npt.NDArray[np.generic]


@torch.inference_mode()
def validate(
    model: nn.Module,
    batches: Iterable[tuple[Batch, Groups | None]],
    tasks: Mapping[str, Task],
    device: torch.device,
    precision: str,
) -> dict[str, float]:
    """Losses and metrics over all ranks' batches, named `<task>/<metric>`. Collective; ranks may differ in batches,
    but where there is a `next_item` task, whose loss is a collective of every batch: then they have equally many, of as
    many rows.

    Sample weights count in the losses, as in training, and not in the metrics, as in evaluation. Class weights count in
    neither, and both are of corrected logits.

    Args:
        model: the model itself, not its DDP wrapper (whose forward is a collective).
        batches: this rank's batches, each with the group of every row `[B]` or None.
    """
    grouped = False
    totals = LossTotals(tasks, device)
    metrics: dict[str, dict[str, Metric]] = {}
    model.eval()
    for batch, groups in batches:
        if not metrics:
            grouped = groups is not None
            metrics = {name: task.metrics(grouped) for name, task in tasks.items()}
        batch = to_precision(batch, device, precision)
        with autocast(device, precision):
            logits = model(batch)
        losses = validation_losses(logits, batch, tasks)
        totals.add(losses.sums, losses.weights)
        observed = batch.observed.cpu().numpy()
        labels = batch.labels.cpu().numpy()
        for index, (name, task) in enumerate(tasks.items()):
            rows = observed[:, index]
            prediction = task.predict(logits[name], batch.task_inputs).float().cpu().numpy()[rows]
            if not np.isfinite(prediction).all():
                continue  # the loss is not finite either, which all ranks will find together in `means`
            group = None if groups is None else groups[rows]
            for metric in metrics[name].values():
                metric.update(prediction, labels[rows, index], group=group)
    model.train()
    values = {f"{name}/loss": loss for name, loss in totals.means().items()}
    values.update(_merged(metrics))
    return values


def _merged(metrics: dict[str, dict[str, Metric]]) -> dict[str, float]:
    values: dict[str, float] = {}
    merged: dict[str, dict[str, Metric]] = {}
    for part in distributed.gather(metrics):
        for task, states in part.items():
            for key, state in states.items():
                if key in merged.setdefault(task, {}):
                    merged[task][key].merge(state)
                else:
                    merged[task][key] = state
    for task, states in merged.items():
        for state in states.values():
            values.update({f"{task}/{name}": value for name, value in state.compute().items()})
    return values


def is_better(value: float, best: float | None, greater_is_better: bool, min_delta: float) -> bool:
    """Whether `value` beats `best` by more than `min_delta`; the first number beats None, NaN beats nothing."""
    if math.isnan(value):
        return False
    if best is None:
        return True
    return value > best + min_delta if greater_is_better else value < best - min_delta
