"""The task sets that architectures are tested with: one without a task graph, one with.

The graph is no chain, and its task order is none of its own: purchase is given cart and save, both given click.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from mtl_ray.batch import Batch
from mtl_ray.models.settings import ModelSettings
from mtl_ray.schema import BatchSchema, LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, RegressionTaskConfig, Task
from tests import random_batch


@dataclass(frozen=True)
class TaskSet:
    """A schema with its tasks, and random batches of both: rows, seed, dtype."""

    name: str
    schema: BatchSchema
    tasks: Callable[[], dict[str, Task]]
    batch: Callable[..., Batch]


SERIAL_SCHEMA = random_batch.SCHEMA.model_copy(update={"tasks": ("purchase", "click", "value", "save", "cart")})
RATES = {"purchase": 0.02, "click": 0.2, "save": 0.06, "cart": 0.08}
GIVEN = {"purchase": ("cart", "save"), "click": (), "save": ("click",), "cart": ("click",)}


def make_serial_tasks(**config: object) -> dict[str, Task]:
    """The tasks of `SERIAL_SCHEMA`; `config` for every binary one."""
    tasks: dict[str, Task] = {}
    for name in SERIAL_SCHEMA.tasks:
        if name == "value":
            value = LabelStatistics(observed=50, mean=20.0, transformed_mean=2.5, transformed_std=0.8)
            tasks[name] = RegressionTaskConfig(transform="log1p").build(name, value)
        else:
            settings = BinaryTaskConfig.model_validate({"given": GIVEN[name], **config})
            tasks[name] = settings.build(name, LabelStatistics(observed=1000, mean=RATES[name]))
    return tasks


def serial_batch(rows: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    """`rows` rows of `SERIAL_SCHEMA`: a label is 1 only where those of its ancestors are; about a tenth is missing."""
    batch = random_batch.random_batch(rows, seed, dtype)
    random = torch.Generator().manual_seed(seed + 1000)

    def uniform() -> torch.Tensor:
        return torch.rand(rows, generator=random, dtype=torch.float64)

    click = uniform() < 0.6
    save, cart = click & (uniform() < 0.7), click & (uniform() < 0.7)
    purchase = save & cart & (uniform() < 0.5)
    labels = torch.stack([purchase, click, torch.expm1(3 * uniform()), save, cart], dim=1)
    observed = torch.rand(rows, 5, generator=random) < 0.9
    return replace(batch, labels=torch.where(observed, labels, 0.0).to(dtype), observed=observed)


PLAIN = TaskSet("plain", random_batch.SCHEMA, random_batch.make_tasks, random_batch.random_batch)
SERIAL = TaskSet("serial", SERIAL_SCHEMA, make_serial_tasks, serial_batch)


def task_sets_of(config: ModelSettings) -> tuple[TaskSet, ...]:
    """Those that the architecture can be built for, without a warning."""
    return {"ignored": (PLAIN,), "used": (PLAIN, SERIAL), "required": (SERIAL,)}[config.task_graph]
