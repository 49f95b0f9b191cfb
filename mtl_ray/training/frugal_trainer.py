"""Ray Train's trainer without the actors that these trainings have no use for."""

from __future__ import annotations

from typing import Any

from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

from mtl_ray.local_cluster import is_local


class FrugalTrainer(TorchTrainer):
    """A `TorchTrainer` that starts no actor for datasets, which it must not be given, and on a cluster that ends with
    this process none that outlives it.

    Every actor of Ray (2.60) is a process that takes a second and a half to start and wakes up a hundred times a second
    ever after, on the cores that the ranks compute on.
    """

    def _create_default_callbacks(self) -> list[Any]:
        left_out = (DatasetsCallback, PlacementGroupCleanerCallback) if is_local() else (DatasetsCallback,)
        return [callback for callback in super()._create_default_callbacks() if not isinstance(callback, left_out)]
