"""The optimizer and its learning-rate schedule."""

from __future__ import annotations

from mtl_ray.optim.embeddings import EmbeddingOptimizerConfig
from mtl_ray.optim.optimizer import OptimizerConfig, build_optimizer
from mtl_ray.optim.schedule import ScheduleConfig, build_schedule

__all__ = ["EmbeddingOptimizerConfig", "OptimizerConfig", "ScheduleConfig", "build_optimizer", "build_schedule"]
