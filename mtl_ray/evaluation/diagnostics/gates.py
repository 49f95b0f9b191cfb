"""How much each task listens to each expert."""

from __future__ import annotations

import torch

from mtl_ray.batch import Batch
from mtl_ray.evaluation.diagnostics.result import GateUse
from mtl_ray.models import MultiTaskModel


@torch.no_grad()
def gate_use(model: MultiTaskModel, batch: Batch) -> tuple[GateUse, ...]:
    """Use of every gate of `model` (in evaluation mode) over the rows of `batch`, none of which is padding."""
    found = []
    for name, weight_BE in model.gates(batch).items():
        first_B = weight_BE.argmax(dim=1)
        rows = torch.bincount(first_B, minlength=weight_BE.shape[1]).double() / len(weight_BE)
        mean = weight_BE.double().mean(dim=0)
        found.append(GateUse(gate=name, mean=tuple(mean.tolist()), largest=tuple(rows.tolist())))
    return tuple(found)
