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
from mtl_ray.models.sharing.gated import GatedSettings
from mtl_ray.tasks.losses import task_losses
from mtl_ray.training.objective import combined, packed
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
"""Variants beside those of `kinds_of`, of members that have ways of their own."""
GATED = {"gate_temperature": 0.7, "load_balance": 0.5}


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
            added = tuple(model.auxiliary_losses(batch, logits).values()) if auxiliary else ()
            ranks.append((task_losses(logits, batch, self.set.tasks()), added))
        total = torch.stack([packed(*rank) for rank in ranks]).sum(dim=0)
        losses = [combined(*rank, total, world_size=len(batches)) for rank in ranks]
        return [torch.cat([rank.local, rank.auxiliary]) for rank in losses]


def name_of(config: ModelSettings) -> str:
    return str(type(config).model_fields["name"].default)


def kinds_of(member: type[ModelSettings]) -> list[dict[str, object]]:
    """The defaults, layer norm, and batch norm with all regularisers that the member has."""
    regularised = {"norm": "batch", "encoder": {"embedding_l2": 0.1}}
    if issubclass(member, GatedSettings):
        regularised |= GATED
    return [{}, {"norm": "layer", "tower": ()}, regularised, *EXTRA.get(name_of(member.model_construct()), ())]


CONFIGS = [member.model_validate(kind) for member in MEMBERS for kind in kinds_of(member)]
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
