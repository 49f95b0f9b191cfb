"""The optimizer, its learning-rate schedule and the average of the weights."""

from __future__ import annotations

from mtl_ray.optim.averaging import AveragingConfig, WeightAverage
from mtl_ray.optim.embeddings import EmbeddingOptimizerConfig
from mtl_ray.optim.optimizer import (
    OptimizerConfig,
    build_optimizer,
    embedding_rows,
    sharded_adagrad,
    sharded_rate,
)
from mtl_ray.optim.schedule import ScheduleConfig, build_schedule

__all__ = [
    "AveragingConfig",
    "EmbeddingOptimizerConfig",
    "OptimizerConfig",
    "ScheduleConfig",
    "WeightAverage",
    "build_optimizer",
    "build_schedule",
    "embedding_rows",
    "sharded_adagrad",
    "sharded_rate",
]
