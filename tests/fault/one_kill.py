"""A training one of whose workers is killed in mid-epoch."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import Config
from mtl_ray.run_folder import CHECKPOINTS
from mtl_ray.training.launch import TrainingOutcome, train
from mtl_ray.training.restoring import recorded


class OneKill:
    """Trains, and once, in the second epoch, kills a worker.

    Attributes:
        resumed: steps after which workers began, in order.
        recorded: steps of the checkpoints that Ray Train knew of when the worker was killed, the newest first.
    """

    def __init__(self, config: Config, tear: bool = False) -> None:
        """`tear`: leave half of the weights of the newest checkpoint that Ray Train knows of, and of any that it does
        not know of yet, as a node that dies while it writes does."""
        self.resumed: list[int] = []
        self.recorded: list[int] = []
        self._tear = tear
        self._others = _train_workers()
        self._killed = False
        self._place: Path | None = None
        self.outcome: TrainingOutcome = train(config, self._say, self._show)
        assert self._killed

    def _say(self, sentence: str) -> None:
        if sentence.startswith("run folder "):
            self._place = Path(sentence.removeprefix("run folder "))

    def _show(self, record: dict[str, Any]) -> None:
        if record["kind"] == "start":
            self.resumed.append(record["step"])
        if not self._killed and record["kind"] == "step" and record["epoch"] == 2 and record["epoch_step"] >= 6:
            workers = [process for process in _train_workers() if process not in self._others]
            # This thread is seconds behind the workers, which go on writing checkpoints meanwhile.
            for worker in workers:
                worker.suspend()
            self._look_and_tear()
            workers[0].kill()
            for worker in workers[1:]:
                worker.resume()
            self._killed = True

    def _look_and_tear(self) -> None:
        assert self._place is not None
        folders = [Path(known.path) for known in recorded(str(self._place / CHECKPOINTS))]
        self.recorded = [json.loads((folder / "position.json").read_text())["step"] for folder in folders]
        if self._tear:
            for file in self._place.glob(f"{CHECKPOINTS}/checkpoint_*/model.safetensors"):
                if file.parent.name >= folders[0].name:
                    os.truncate(file, file.stat().st_size // 2)


def _train_workers() -> list[psutil.Process]:
    """Of every Ray that this process has started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended just now
            if "TrainWorker" in " ".join(process.cmdline()):
                found.append(process)
    return found


def assert_same_model(one: TrainingOutcome, other: TrainingOutcome) -> None:
    """The last checkpoints of both, bit for bit."""
    first, second = (load_checkpoint(each.run.checkpoint("last")) for each in (one, other))
    assert second.position == first.position
    for name, tensor in first.weights.items():
        assert torch.equal(tensor, second.weights[name]), name
    states = [each.training_state()["weighting"] for each in (first, second)]
    assert states[0].keys() == states[1].keys()
    # NaN stands for what has not been seen yet.
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0, equal_nan=True)
