"""The model and the rows that steps are timed on."""

from __future__ import annotations

import torch

from mtl_ray.batch import Batch
from mtl_ray.models.encoders import FeatureEncoderConfig
from mtl_ray.models.sharing.mmoe import MMoEConfig
from mtl_ray.schema import BatchSchema, CategoricalFeature, LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, Task

VOCABULARIES = tuple(1000 * 2**step for step in range(8)) + (1000,) * 12
"""Ids of 20 categorical features: 267,000 rows of embeddings in all."""
NUMBERS = 13
ROWS = 4096
"""Of one worker."""
MODEL = MMoEConfig(num_experts=4, expert=(256, 128), tower=(64,), encoder=FeatureEncoderConfig(embedding_dim=16))


def schema(num_tasks: int) -> BatchSchema:
    """20 categorical features and 13 numbers."""
    names = [f"c{number}" for number in range(len(VOCABULARIES))]
    return BatchSchema(
        vocabularies=dict(zip(names, VOCABULARIES, strict=True)),
        categorical=tuple(CategoricalFeature(name=name, vocabulary=name) for name in names),
        numeric=tuple(f"n{number}" for number in range(NUMBERS)),
        tasks=tuple(f"task_{number}" for number in range(num_tasks)),
    )


def tasks(num_tasks: int) -> dict[str, Task]:
    """Binary, with base rates from 0.5 down."""
    return {
        f"task_{number}": BinaryTaskConfig().build(
            f"task_{number}", LabelStatistics(observed=100_000, mean=0.5 / (1 + number))
        )
        for number in range(num_tasks)
    }


def batch(num_tasks: int, seed: int) -> Batch:
    """Random rows of one worker."""
    random = torch.Generator().manual_seed(seed)
    columns = [torch.randint(1, size, (ROWS,), generator=random, dtype=torch.int32) for size in VOCABULARIES]
    rates = torch.tensor([0.5 / (1 + number) for number in range(num_tasks)])
    return Batch(
        categorical=torch.stack(columns, dim=1),
        numeric=torch.randn(ROWS, NUMBERS, generator=random),
        labels=(torch.rand(ROWS, num_tasks, generator=random) < rates).float(),
        observed=torch.ones(ROWS, num_tasks, dtype=torch.bool),
        sample_weight=torch.ones(ROWS),
        row_id=torch.arange(ROWS),
    )
