"""Where the loop of a rank runs: what it reads from, and where it leaves checkpoints and records."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import ray
import ray.data
import ray.train
import ray.train.torch
import torch

from mtl_ray import distributed
from mtl_ray.checkpoint import ModelContext
from mtl_ray.config import Config
from mtl_ray.data.plan import BatchPlan
from mtl_ray.data.stream import batch_columns, batch_stream, shares
from mtl_ray.storage import is_remote
from mtl_ray.training.progress import Record
from mtl_ray.training.restoring import newest_intact

SAVING = ".saving-"
"""Beginning of the name of a folder beside the checkpoints that one is being written in; what a lost process left of it
is removed before the next."""


class TrainingPlace(Protocol):
    """What a `Trainer` asks of the process that it runs in."""

    def device(self) -> torch.device:
        """What to compute on."""

    def tables(self, plan: BatchPlan) -> Iterator[pa.Table]:
        """This rank's share of each global batch of the plan. Collective."""

    @contextmanager
    def checkpoint(self) -> Iterator[Path | None]:
        """Folder of the checkpoint to go on from; None at the beginning."""

    def saving(self) -> AbstractContextManager[Path]:
        """An empty folder to write a checkpoint into, on rank 0, and to report it from; gone after the block."""

    def report(self, metrics: dict[str, Any], folder: Path | None) -> None:
        """Barrier of all ranks. `folder` holds the checkpoint, on rank 0."""

    def post(self, record: Record) -> None:
        """Tell the driver. Called on rank 0 alone."""


class RayTrainPlace:
    """A Ray Train worker."""

    def __init__(self, board: Any, checkpoints: str, columns: list[str]) -> None:
        """
        Args:
            board: handle of the `ProgressBoard` actor that records go to.
            checkpoints: folder or URI of the run's.
            columns: of the snapshot, to read.
        """
        self._board = board
        self._checkpoints = checkpoints
        self._columns = columns

    def device(self) -> torch.device:
        return ray.train.torch.get_device()

    def tables(self, plan: BatchPlan) -> Iterator[pa.Table]:
        shard = self._shard(plan)
        for block in shard.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            yield from shares(block)

    def _shard(self, plan: BatchPlan) -> ray.data.DataIterator:
        """This rank's part of a stream that rank 0 begins. Collective.

        Not one of Ray Train's own datasets, for which an actor more would have to run: only here it is known where the
        training goes on from, and by how many ranks.
        """
        nodes = distributed.gather(ray.get_runtime_context().get_node_id())
        made = b""
        if distributed.rank() == 0:
            # A node without CPUs is a head that is to be left alone.
            reading = {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}
            stream = batch_stream(plan, self._columns, distributed.world_size(), reading | set(nodes))
            made = ray.cloudpickle.dumps(stream.streaming_split(len(nodes), equal=True, locality_hints=nodes))
        shards: list[ray.data.DataIterator] = ray.cloudpickle.loads(distributed.gather(made)[0])
        return shards[distributed.rank()]

    @contextmanager
    def checkpoint(self) -> Iterator[Path | None]:
        with newest_intact(self._checkpoints) as found:
            yield None if found is None else found[0]

    @contextmanager
    def saving(self) -> Iterator[Path]:
        beside = None
        if not is_remote(self._checkpoints):
            beside = Path(self._checkpoints)
            beside.mkdir(parents=True, exist_ok=True)
            for lost in beside.glob(f"{SAVING}*"):
                shutil.rmtree(lost)
        with tempfile.TemporaryDirectory(prefix=SAVING, dir=beside) as room:
            folder = Path(room) / "checkpoint"
            folder.mkdir()
            yield folder

    def report(self, metrics: dict[str, Any], folder: Path | None) -> None:
        checkpoint = None if folder is None else ray.train.Checkpoint.from_directory(str(folder))
        moved = None if is_remote(self._checkpoints) else self._moved
        ray.train.report(metrics, checkpoint=checkpoint, checkpoint_upload_fn=moved)

    def _moved(self, checkpoint: ray.train.Checkpoint, name: str) -> ray.train.Checkpoint:
        """Its folder given the name that it is to have: Ray Train would write every byte once more."""
        place = Path(self._checkpoints) / name
        Path(checkpoint.path).rename(place)
        return ray.train.Checkpoint.from_directory(str(place))

    def post(self, record: Record) -> None:
        self._board.post.remote(record)


def columns_read(config: Config, context: ModelContext) -> list[str]:
    """The snapshot's columns that a training reads."""
    grouped = [] if config.evaluation.group_by is None else [config.evaluation.group_by]
    return [*batch_columns(context.batch_schema), *grouped]
