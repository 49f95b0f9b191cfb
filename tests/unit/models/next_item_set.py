"""The task sets of `task_sets` with a `next_item` task between the others."""

from __future__ import annotations

from dataclasses import replace

import torch

from mtl_ray.batch import Batch
from mtl_ray.models.settings import ModelSettings
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import NextItemTaskConfig, Task
from tests.unit.models.task_sets import TaskSet, task_sets_of

NEXT = NextItemTaskConfig(user=("user_id", "watched", "tabs", "age"), item=("item_id", "price", "tab"), dim=6)
PLACE = 1
"""Of the task among the others."""


def with_next_item(plain: TaskSet, config: NextItemTaskConfig = NEXT) -> TaskSet:
    """`plain` with the task `next`: a third of the labels 1, about a fifth not observed."""
    names = (*plain.schema.tasks[:PLACE], "next", *plain.schema.tasks[PLACE:])

    def tasks() -> dict[str, Task]:
        every = {**plain.tasks(), "next": config.build("next", LabelStatistics(observed=100, mean=0.33))}
        return {name: every[name] for name in names}

    def batch(rows: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
        found = plain.batch(rows, seed, dtype)
        random = torch.Generator().manual_seed(seed + 2000)
        taken, seen = (torch.rand(rows, 1, generator=random) < share for share in (0.33, 0.8))

        def inserted(columns: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
            return torch.cat([columns[:, :PLACE], new.to(columns.dtype), columns[:, PLACE:]], dim=1)

        return replace(found, labels=inserted(found.labels, taken & seen), observed=inserted(found.observed, seen))

    return TaskSet("next", plain.schema.model_copy(update={"tasks": names}), tasks, batch)


def next_item_set_of(config: ModelSettings) -> TaskSet:
    """The last task set that the architecture can be built for, with the task."""
    return with_next_item(task_sets_of(config)[-1])
