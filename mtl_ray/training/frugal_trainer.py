"""Ray Train's trainer without the actors that these trainings have no use for, and one that ends."""

from __future__ import annotations

import atexit
import os
from typing import Any

from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.context import TrainRunContext

from mtl_ray.local_cluster import is_local


class FrugalTrainer(TorchTrainer):
    """A `TorchTrainer` that starts no actor for datasets, which it must not be given, and on a cluster that ends with
    this process none that outlives it.

    Every actor of Ray (2.60) is a process that takes a second and a half to start and wakes up a hundred times a second
    ever after, on the cores that the ranks compute on.
    """

    def _create_default_callbacks(self) -> list[Any]:
        left_out = (DatasetsCallback, PlacementGroupCleanerCallback) if is_local() else (DatasetsCallback,)
        callbacks = [callback for callback in super()._create_default_callbacks() if not isinstance(callback, left_out)]
        return [*callbacks, EndOfController()]


class EndOfController(ControllerCallback):
    """Lets the process of Ray Train's controller end without C++ destructors.

    Ray's own (2.60) wait for a lock that they hold where somebody still listens to what the process publishes, one
    training in five on two cores; the process, of 440 MB, then stays for ever, which Ray no longer knows of.
    """

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:  # noqa: ARG002
        # Python comes to this when Ray has taken leave of the cluster, and before the destructors.
        atexit.register(os._exit, 0)
