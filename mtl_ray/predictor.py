"""Predictions from a checkpoint: the same encoding, model and task transforms as in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtl_ray.batch import Batch
from mtl_ray.checkpoint import Checkpoint, load_checkpoint
from mtl_ray.errors import CheckpointError, DataError
from mtl_ray.models import MultiTaskModel
from mtl_ray.tasks import Task, TaskSettings


class Predictor:
    """A model ready to predict.

    Attributes:
        checkpoint: where it comes from.
        tasks: the model's tasks by name.
        model: in evaluation mode, on `device`.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device | str = "cpu") -> None:
        self.checkpoint = checkpoint
        self.device = torch.device(device)
        self.tasks = build_tasks(checkpoint)
        config = checkpoint.config
        self.model: MultiTaskModel = config.model.build(checkpoint.context.batch_schema, self.tasks)
        if config.training.precision == "fp64":
            self.model.double()
        try:
            self.model.load_state_dict(checkpoint.weights)
        except RuntimeError as error:
            raise CheckpointError(
                "The weights do not fit the model that the checkpoint's config describes.",
                where=str(checkpoint.path),
                found=str(error),
            ) from error
        self.model.to(self.device).eval()

    @classmethod
    def load(cls, place: Path | str, device: torch.device | str = "cpu") -> Predictor:
        """Read a checkpoint, in a folder or an object store. Raises CheckpointError where it is absent, incomplete or
        damaged."""
        return cls(load_checkpoint(place), device)

    @torch.inference_mode()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Predictions in label units, on the CPU: `[B]`, or `[B, C]` class probabilities.

        Of the batch's task inputs only those are needed that predictions depend on; raises DataError where one is
        not there.
        """
        dtype = torch.float64 if self.checkpoint.config.training.precision == "fp64" else None
        for name, config in self.checkpoint.config.tasks.items():
            _check_inputs(name, config, batch)
        batch = batch.to(self.device, dtype)
        logits = self.model(batch)
        return {name: task.predict(logits[name], batch.task_inputs).cpu() for name, task in self.tasks.items()}

    def predict_arrays(self, batch: Batch) -> dict[str, npt.NDArray[np.float32]]:
        """`predict` as float32 arrays."""
        arrays: dict[str, Any] = {name: value.float().numpy() for name, value in self.predict(batch).items()}
        return arrays


def _check_inputs(name: str, config: TaskSettings, batch: Batch) -> None:
    for column in config.prediction_columns():
        if column not in batch.task_inputs:
            raise DataError(
                "A prediction depends on a column that the rows do not have.",
                where=f"task {name}, column {column}",
                found=", ".join(batch.task_inputs) or "no column beside the features",
                fix=f"give {column} with the rows",
            )


def build_tasks(checkpoint: Checkpoint) -> dict[str, Task]:
    """The tasks as they were in training, label statistics included."""
    statistics = checkpoint.context.label_statistics
    return {name: config.build(name, statistics[name]) for name, config in checkpoint.config.tasks.items()}
