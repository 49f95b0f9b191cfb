"""How large a model is, and what a row costs."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from mtl_ray.batch import Batch
from mtl_ray.evaluation.diagnostics.result import Size
from mtl_ray.models import MultiTaskModel


def model_size(model: MultiTaskModel, batch: Batch) -> Size:
    """Parameters by part, each counted once, and operations of a row, from a forward pass of `batch`; in evaluation
    mode.

    The operations are those that torch's `FlopCounterMode` knows: matrix products, convolutions and attention, a
    multiplication and an addition each. Sums, activations, norms, softmax, lookups in embedding tables and the cells of
    fused recurrent layers are not among them.
    """
    tables = {id(parameter) for parameter in model.embedding_parameters()}
    encoders = {id(parameter) for parameter in model.encoders.parameters()} - tables
    owner = {id(parameter): task for task in model.task_names for parameter in model.task_parameters(task)}
    counts = {"embeddings": 0, "encoder": 0, "shared": 0}
    tasks = dict.fromkeys(model.task_names, 0)
    for parameter in model.parameters():
        key = id(parameter)
        if key in tables:
            counts["embeddings"] += parameter.numel()
        elif key in encoders:
            counts["encoder"] += parameter.numel()
        elif key in owner:
            tasks[owner[key]] += parameter.numel()
        else:
            counts["shared"] += parameter.numel()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(batch)
    return Size(**counts, tasks=tasks, flops=counter.get_total_flops() / len(batch))
