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
from mtl_ray.errors import CheckpointError
from mtl_ray.models import MultiTaskModel
from mtl_ray.tasks import Task


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
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> Predictor:
        """Read a checkpoint folder. Raises CheckpointError where it is absent, incomplete or damaged."""
        return cls(load_checkpoint(Path(folder)), device)

    @torch.inference_mode()
    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Predictions in label units, on the CPU: `[B]`, or `[B, C]` class probabilities."""
        dtype = torch.float64 if self.checkpoint.config.training.precision == "fp64" else None
        logits = self.model(batch.to(self.device, dtype))
        return {name: task.predict(logits[name]).cpu() for name, task in self.tasks.items()}

    def predict_arrays(self, batch: Batch) -> dict[str, npt.NDArray[np.float32]]:
        """`predict` as float32 arrays."""
        arrays: dict[str, Any] = {name: value.float().numpy() for name, value in self.predict(batch).items()}
        return arrays


def build_tasks(checkpoint: Checkpoint) -> dict[str, Task]:
    """The tasks as they were in training, label statistics included."""
    statistics = checkpoint.context.label_statistics
    return {name: config.build(name, statistics[name]) for name, config in checkpoint.config.tasks.items()}
