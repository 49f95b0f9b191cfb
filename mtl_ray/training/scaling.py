"""How many workers Ray Train starts, and the stream of rows for just so many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ray
import ray.data
from ray.train import DataConfig, ScalingConfig

from mtl_ray.config.tree import TrainingConfig
from mtl_ray.data.plan import BatchPlan, Position
from mtl_ray.data.stream import batch_stream, stream_options
from mtl_ray.training.place import STREAM
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


class StreamOfPlan(DataConfig):
    """Gives the workers the plan's batches from the checkpoint on that they go on from, split between as many as there
    are: `configure` is called whenever a group of workers has started, and alone is told how many they are."""

    def __init__(self, plan: BatchPlan, columns: list[str], checkpoints: str) -> None:
        super().__init__(execution_options=stream_options())
        self._plan = plan
        self._columns = columns
        self._checkpoints = checkpoints

    def configure(self, datasets: dict[str, Any], world_size: int, *args: Any, **kwargs: Any) -> Any:
        """One `DataIterator` a rank, under the name `STREAM`. `datasets` are those of `stream_to_come`."""
        plan = replace(self._plan, start=latest_position(self._checkpoints))
        streams = {name: batch_stream(plan, self._columns, world_size) for name in datasets}
        return super().configure(streams, world_size, *args, **kwargs)


def stream_to_come() -> dict[str, ray.data.Dataset]:
    """Datasets that have no row, for `StreamOfPlan` to replace."""
    return {STREAM: ray.data.range(0)}


def latest_position(checkpoints: str) -> Position:
    """Where the checkpoint stands that the workers will go on from; the beginning where there is none."""
    with newest_intact(checkpoints) as found:
        return Position() if found is None else Position(found[1].epoch, found[1].batch)
