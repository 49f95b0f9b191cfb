"""Every architecture of the union, in several variants, with each task set that it can be built for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import pytest
import torch
from torch import Tensor

from mtl_ray.batch import Batch
from mtl_ray.models import ModelConfig, MultiTaskModel
from mtl_ray.models.settings import ModelSettings
from mtl_ray.training.loss import normalise, task_losses
from tests.unit.models.task_sets import TaskSet, task_sets_of

MEMBERS: tuple[type[ModelSettings], ...] = get_args(get_args(ModelConfig)[0])
EXTRA = {
    "escm2": [{"method": "ips"}],
    "adatt": [{"shared_experts": 0, "task_experts": 1}],
    "ple": [{"levels": [[8], [8], [6]]}],
    "snr": [{"connection": "average", "expert": [12, 8, 8]}],
    "home": [{"num_experts": 1}],
    "pepnet": [{"domain": ["tab"], "prior": ["user_id", "tabs", "age"]}],
    "esmm": [{"bottom": [8]}],
}
"""Variants beside the defaults and those with layer norm, of members that have ways of their own."""


@dataclass(frozen=True)
class Case:
    """An architecture and a task set that it can be built for."""

    config: ModelSettings
    set: TaskSet

    def build(self, seed: int = 0) -> MultiTaskModel:
        torch.manual_seed(seed)
        return self.config.build(self.set.schema, self.set.tasks())

    def totals(self, model: MultiTaskModel, batches: Sequence[Batch], auxiliary: bool = True) -> list[Tensor]:
        """Each rank's losses `[T (+ A)]`: of the tasks, then the auxiliary ones."""
        ranks = []
        for batch in batches:
            logits = model(batch)
            sums, weights = task_losses(logits, batch, self.set.tasks())
            if auxiliary:
                for added in model.auxiliary_losses(batch, logits).values():
                    sums = torch.cat([sums, added.sum.view(1)])
                    weights = torch.cat([weights, added.weight.view(1)])
            ranks.append((sums, weights))
        whole = torch.stack([weights for _, weights in ranks]).sum(dim=0)
        return [normalise(sums, whole, world_size=len(batches)) for sums, _ in ranks]


def name_of(config: ModelSettings) -> str:
    return str(type(config).model_fields["name"].default)


CONFIGS = [
    member.model_validate(kind)
    for member in MEMBERS
    for kind in ({}, {"layer_norm": True, "tower": ()}, *EXTRA.get(name_of(member.model_construct()), ()))
]
CASES = {
    f"{index}-{name_of(config)}-{tasks.name}": Case(config, tasks)
    for index, config in enumerate(CONFIGS)
    for tasks in task_sets_of(config)
}
every_model = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
each_once = pytest.mark.parametrize(
    "case",
    [Case(member(), task_sets_of(member())[-1]) for member in MEMBERS],
    ids=[name_of(member.model_construct()) for member in MEMBERS],
)


def gradients(model: MultiTaskModel, total: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
