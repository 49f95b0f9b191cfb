"""A model without the rows of its tables: what can be known of it on a machine that could not hold it."""

from __future__ import annotations

import torch

from mtl_ray.checkpoint import ModelContext
from mtl_ray.config import Config
from mtl_ray.embedding_table import deferred_tables
from mtl_ray.models import MultiTaskModel


def model_outline(config: Config, context: ModelContext) -> MultiTaskModel:
    """The model of `config`, its tables on the meta device. Random numbers are left as they were."""
    tasks = {name: task.build(name, context.label_statistics[name]) for name, task in config.tasks.items()}
    with torch.random.fork_rng(), deferred_tables():
        return config.model.build(context.batch_schema, tasks)
