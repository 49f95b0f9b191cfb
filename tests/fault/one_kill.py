"""A training one of whose workers is killed in mid-epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import Config
from mtl_ray.training.launch import TrainingOutcome, train


class OneKill:
    """Trains, and once, in the second epoch, kills a worker.

    Attributes:
        resumed: steps after which workers began, in order.
    """

    def __init__(self, config: Config, before: Callable[[Path], None] = lambda _: None) -> None:
        """`before`: called with the run folder, just before the kill."""
        self.resumed: list[int] = []
        self._before = before
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
            assert self._place is not None
            self._before(self._place)
            processes = psutil.Process().children(recursive=True)
            workers = [process for process in processes if "TrainWorker" in " ".join(process.cmdline())]
            workers[0].kill()
            self._killed = True


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
