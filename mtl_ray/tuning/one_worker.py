"""A trial with one worker: the product's own training loop, an epoch a step, inside Tune's actor.

A Ray Train run a trial would start a controller, a placement group and a worker process of its own, 15 to 20 s on two
cores. Here the actor is the worker, and goes on to the next trial when one is done. The steps are those of
jobs/train.py: the same loop, rows, seed and checkpoint.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from ray import tune

from mtl_ray.data.plan import BatchPlan
from mtl_ray.data.snapshot import open_snapshot
from mtl_ray.data.windows import local_batches
from mtl_ray.errors import MtlRayError
from mtl_ray.run_folder import RunFolder
from mtl_ray.training.launch import model_context, plan_batches
from mtl_ray.training.place import columns_read
from mtl_ray.training.progress import Record
from mtl_ray.training.warm_start import earlier_checkpoint
from mtl_ray.training.worker import NOT_THE_BEST, SCORE, Trainer, WorkerSetup
from mtl_ray.tuning.trial import KEPT, POINT, Point, TrialProgress, TrialSetup

LAST, PROGRESS = "last", "progress.json"
"""What a trial's checkpoint holds beside `KEPT`: the state to go on from, and what was reported so far."""


class OneWorkerTrial(tune.Trainable):
    """A trial; `config` has its `Point`."""

    _trainer: Trainer | None
    """None before the first epoch."""
    _kept: Path
    """Where the kept epoch's checkpoint lies as long as the trial runs."""

    def setup(self, config: dict[str, Any], setup: TrialSetup) -> None:
        """Once an actor."""
        self._setup = setup
        self._snapshot = open_snapshot(setup.snapshot)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial in this actor."""
        self.cleanup()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """An epoch; what was reached, and `done` after the last one. A training that cannot go on is done, too: again
        it would come to the same end."""
        began = time.monotonic()
        try:
            if self._trainer is None:
                self._trainer = self._start(None)
            self._trainer.train_epoch()
            over = self._trainer.over
        except MtlRayError as error:
            return {**self._progress.failed(str(error)), "done": True}
        self._progress.seconds += time.monotonic() - began
        return {**self._progress.reported(self._setup, over), "done": over}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """State, the checkpoint that is kept, and the progress."""
        folder = Path(checkpoint_dir)
        if self._trainer is None:
            raise RuntimeError("a trial has nothing to save before its first epoch")
        (folder / LAST).mkdir()
        self._trainer.state.save(folder / LAST)
        if self._kept.is_dir():
            shutil.copytree(self._kept, folder / KEPT)
        (folder / PROGRESS).write_text(json.dumps(self._progress.state()))

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go on from what `save_checkpoint` left, of this trial or, in a population, of another."""
        folder = Path(checkpoint)
        self._progress = TrialProgress.restored(json.loads((folder / PROGRESS).read_text()))
        shutil.rmtree(self._kept, ignore_errors=True)
        if (folder / KEPT).is_dir():
            shutil.copytree(folder / KEPT, self._kept)
        self._trainer = self._start(folder / LAST)

    def cleanup(self) -> None:
        """The end of a trial."""
        if self._trainer is not None:
            self._trainer.end()
            self._trainer = None
        self._folder.cleanup()

    def _begin(self, config: dict[str, Any]) -> None:
        self._point: Point = config[POINT]
        self._progress = TrialProgress()
        self._trainer = None
        self._folder = tempfile.TemporaryDirectory(prefix="trial-")
        self._kept = Path(self._folder.name) / KEPT

    def _start(self, checkpoint: Path | None) -> Trainer:
        config = self._setup.config(self._point["values"], self._point["seed"])
        # As Ray has it for a worker of so many CPUs; a member of a population may hold more than it uses.
        torch.set_num_threads(max(1, int(config.training.cpus_per_worker)))
        plan = plan_batches(config, self._snapshot)
        context = model_context(config, self._snapshot)
        columns = columns_read(config, context)
        place = _Actor(columns, checkpoint, self._kept, self._progress, config.training.use_gpu)
        run = RunFolder.at(Path(self._folder.name) / f"trial-{self._point['number']}", config)
        setup = WorkerSetup(config, context, plan, self._snapshot.schema, None, run, earlier_checkpoint(config))
        trainer = Trainer(setup, place)
        trainer.begin()
        return trainer


class _Actor:
    """`mtl_ray.training.place.TrainingPlace` of one process."""

    def __init__(
        self,
        columns: list[str],
        checkpoint: Path | None,
        kept: Path,
        progress: TrialProgress,
        use_gpu: bool,
    ) -> None:
        self._columns = columns
        self._checkpoint = checkpoint
        self._kept = kept
        self._progress = progress
        self._use_gpu = use_gpu

    def device(self) -> torch.device:
        return torch.device("cuda" if self._use_gpu else "cpu")

    def tables(self, plan: BatchPlan) -> Iterator[pa.Table]:
        return local_batches(plan, self._columns)

    @contextmanager
    def checkpoint(self) -> Iterator[Path | None]:
        yield self._checkpoint

    @contextmanager
    def saving(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

    def report(self, metrics: dict[str, Any], folder: Path | None) -> None:
        """Of the checkpoints that the loop brings, the best one is kept; Tune asks for the last one itself."""
        if folder is not None and metrics[SCORE] > NOT_THE_BEST:
            shutil.rmtree(self._kept, ignore_errors=True)
            shutil.copytree(folder, self._kept)

    def post(self, record: Record) -> None:
        if record["kind"] == "epoch":
            self._progress.add(record)
