"""Where the loop of a rank runs: what it reads from, and where it leaves checkpoints and records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import ray.train
import ray.train.torch
import torch

from mtl_ray.data.stream import shares
from mtl_ray.training.progress import Record
from mtl_ray.training.restoring import newest_intact

STREAM = "stream"
"""Name of the Ray Dataset that the workers read."""


class TrainingPlace(Protocol):
    """What a `Trainer` asks of the process that it runs in."""

    def device(self) -> torch.device:
        """What to compute on."""

    def tables(self) -> Iterator[pa.Table]:
        """This rank's share of each global batch, from the current position to the end of the training."""

    @contextmanager
    def checkpoint(self) -> Iterator[Path | None]:
        """Folder of the checkpoint to go on from; None at the beginning."""

    def report(self, metrics: dict[str, Any], folder: Path | None) -> None:
        """Barrier of all ranks. `folder` holds the checkpoint, on rank 0, and is gone afterwards."""

    def post(self, record: Record) -> None:
        """Tell the driver. Called on rank 0 alone."""


class RayTrainPlace:
    """A Ray Train worker; records go to a `ProgressBoard` actor. `checkpoints`: folder or URI of the run's."""

    def __init__(self, board: Any, checkpoints: str) -> None:
        self._board = board
        self._checkpoints = checkpoints

    def device(self) -> torch.device:
        return ray.train.torch.get_device()

    def tables(self) -> Iterator[pa.Table]:
        shard = ray.train.get_dataset_shard(STREAM)
        for block in shard.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            yield from shares(block)

    @contextmanager
    def checkpoint(self) -> Iterator[Path | None]:
        with newest_intact(self._checkpoints) as found:
            yield None if found is None else found[0]

    def report(self, metrics: dict[str, Any], folder: Path | None) -> None:
        checkpoint = None if folder is None else ray.train.Checkpoint.from_directory(str(folder))
        ray.train.report(metrics, checkpoint=checkpoint)

    def post(self, record: Record) -> None:
        self._board.post.remote(record)
