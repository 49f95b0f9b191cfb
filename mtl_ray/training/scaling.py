"""How many workers Ray Train starts, and where they go on from."""

from __future__ import annotations

from ray.train import ScalingConfig

from mtl_ray.config.tree import TrainingConfig
from mtl_ray.data.plan import Position
from mtl_ray.training.restoring import newest_intact


def scaling(training: TrainingConfig) -> ScalingConfig:
    """The workers that the config asks for."""
    workers = training.workers
    return ScalingConfig(
        num_workers=(workers.min, workers.max) if workers.elastic else workers.max,
        elastic_resize_monitor_interval_s=workers.resize_every,
        use_gpu=training.use_gpu,
        resources_per_worker={"CPU": training.cpus_per_worker, **({"GPU": 1} if training.use_gpu else {})},
    )


def latest_position(checkpoints: str) -> Position:
    """Where the checkpoint stands that the workers will go on from; the beginning where there is none."""
    with newest_intact(checkpoints) as found:
        return Position() if found is None else Position(found[1].epoch, found[1].batch)
