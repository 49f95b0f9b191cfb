"""Steps of one model on embedding tables of a given size, in one process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from mtl_ray.batch import Batch
from mtl_ray.models import MultiTaskModel
from mtl_ray.models.encoders import FeatureEncoderConfig
from mtl_ray.models.sharing.mmoe import MMoEConfig
from mtl_ray.optim import OptimizerConfig, ScheduleConfig, build_optimizer, build_schedule
from mtl_ray.process_memory import keep_freed_memory
from mtl_ray.schema import BatchSchema, CategoricalFeature, LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, Task
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import StaticWeightingConfig, WeightingContext
from tests.benchmarks.measure import Side

FEATURES, NUMBERS, TASKS, DIM = 20, 13, 3, 16
BATCH = 4096
WARM_UP, STEPS = 5, 30
MODEL = MMoEConfig(num_experts=4, expert=(256, 128), tower=(64,), encoder=FeatureEncoderConfig(embedding_dim=DIM))
CPU = torch.device("cpu")


@dataclass
class Steps:
    """Training steps on `rows` embedding rows in all, an equal share a feature, every id as likely as any other."""

    rows: int
    embeddings: str

    def warm_up(self) -> None:
        """Nothing: imports are done."""

    def run(self) -> list[float]:
        """Milliseconds of each step after the first few."""
        keep_freed_memory()  # as a worker does
        torch.manual_seed(0)
        schema = schema_of(self.rows // FEATURES)
        tasks = tasks_of(schema)
        model = MODEL.build(schema, tasks)
        step = built(model, tasks, self.embeddings)
        random = torch.Generator().manual_seed(0)
        found = []
        for _ in range(WARM_UP + STEPS):
            batch = batch_of(schema, random)
            began = time.perf_counter()
            step(batch)
            found.append(1e3 * (time.perf_counter() - began))
        return found[WARM_UP:]

    def check(self, result: list[float]) -> dict[str, Any]:
        """The median step; memory is measured from outside."""
        return {"rows": self.rows, "embeddings": self.embeddings, "step_ms": median(result)}


def steps(rows: int, embeddings: str) -> Side:
    """Target of `measure`."""
    return Steps(rows, embeddings)


def built(model: MultiTaskModel, tasks: dict[str, Task], embeddings: str) -> TrainStep:
    """A plain step with that optimizer of the tables."""
    optimizer = build_optimizer(OptimizerConfig.model_validate({"embeddings": {"name": embeddings}}), model)
    context = WeightingContext(dict.fromkeys(tasks, 1.0), {}, dict.fromkeys(tasks, "binary"))
    weighting = StaticWeightingConfig().build(context)
    return TrainStep(
        model, tasks, weighting, optimizer, build_schedule(ScheduleConfig(), optimizer, 100), 1.0, "fp32", CPU
    )


def schema_of(ids: int) -> BatchSchema:
    """`ids` of each feature."""
    names = [f"c{number}" for number in range(FEATURES)]
    return BatchSchema(
        vocabularies=dict.fromkeys(names, ids),
        categorical=tuple(CategoricalFeature(name=name, vocabulary=name) for name in names),
        numeric=tuple(f"n{number}" for number in range(NUMBERS)),
        tasks=tuple(f"task_{number}" for number in range(TASKS)),
    )


def tasks_of(schema: BatchSchema) -> dict[str, Task]:
    """Binary ones."""
    return {name: BinaryTaskConfig().build(name, LabelStatistics(observed=1000, mean=0.2)) for name in schema.tasks}


def batch_of(schema: BatchSchema, random: torch.Generator) -> Batch:
    """Random rows."""
    ids = next(iter(schema.vocabularies.values()))
    return Batch(
        categorical=torch.randint(0, ids, (BATCH, FEATURES), generator=random, dtype=torch.int32),
        numeric=torch.randn(BATCH, NUMBERS, generator=random),
        labels=(torch.rand(BATCH, TASKS, generator=random) < 0.2).float(),
        observed=torch.ones(BATCH, TASKS, dtype=torch.bool),
        sample_weight=torch.ones(BATCH),
        row_id=torch.arange(BATCH),
    )
