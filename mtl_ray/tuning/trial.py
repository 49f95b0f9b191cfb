"""What every trial has: what it shares with the others, and what it reports after each epoch."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import Any, TypedDict

from mtl_ray.config import Config
from mtl_ray.training.progress import Record
from mtl_ray.tuning.objective import Objective
from mtl_ray.tuning.points import Values
from mtl_ray.tuning.resolve import resolved

POINT = "point"
"""Tune's config of a trial has its `Point` under this key."""

KEPT = "kept"
"""In a trial's checkpoint: the checkpoint of the epoch that counts."""

JUDGED = "judged"
"""Reported by every trial: what schedulers compare, larger is better."""

UNDEFINED = -sys.float_info.max
"""`JUDGED` where a metric is not defined: worse than anything. Finite, because Ray keeps results in JSON."""


class Point(TypedDict):
    """What a trial differs in from others."""

    values: Values
    seed: int
    number: int
    """Counted from 0. In a population a member that takes over another's values takes this over as well."""


@dataclass(frozen=True)
class TrialSetup:
    """What all trials of a search share."""

    base: dict[str, Any]
    """The config tree that the search started from."""
    snapshot: str
    """Absolute folder or URI of the training set."""
    folder: str
    """Absolute folder or URI of the search."""
    objective: Objective
    judged_by: Objective
    """With one target."""

    def config(self, values: Values, seed: int) -> Config:
        """Of one trial. Raises ConfigError where its values do not go together."""
        return resolved(self.base, values, seed)


@dataclass
class TrialProgress:
    """How far a trial has come."""

    seconds: float = 0.0
    """Spent in training and validation."""
    last: Record = field(default_factory=dict)
    """The last epoch's record."""
    kept: Record = field(default_factory=dict)
    """Of the epoch whose checkpoint is kept: the best one by training.early_stopping."""

    @classmethod
    def restored(cls, state: dict[str, Any]) -> TrialProgress:
        """What `state` gave."""
        return cls(**state)

    def state(self) -> dict[str, Any]:
        """As JSON types."""
        return {"seconds": self.seconds, "last": self.last, "kept": self.kept}

    def add(self, record: Record) -> None:
        """Take the record of an epoch that is over."""
        self.last = dict(record)
        if record["best"] or not self.kept:
            self.kept = dict(record)

    def reported(self, setup: TrialSetup, over: bool) -> dict[str, Any]:
        """What Tune, searcher, scheduler and table see of the trial now. The objective is that of the kept epoch."""
        values = setup.objective.values(self.kept)
        target = setup.judged_by.targets[0]
        judged = target.score(target.value(self.kept))
        validation = {name: value for name, value in self.last.items() if name.startswith(("validation/", "train/"))}
        return {
            **validation,
            "kept": {name: value for name, value in self.kept.items() if name.startswith("validation/")},
            "epoch": self.last["epoch"],
            "kept_epoch": self.kept["epoch"],
            "objective": list(values),
            JUDGED: judged if math.isfinite(judged) else UNDEFINED,
            "training_seconds": self.seconds,
            "ended": "finished" if over else "",
            "error": "",
        }

    def failed(self, message: str) -> dict[str, Any]:
        """The report of a trial that cannot go on."""
        return {
            "epoch": self.last.get("epoch", 0),
            "objective": [],
            JUDGED: UNDEFINED,
            "training_seconds": self.seconds,
            "ended": "failed",
            "error": message,
        }
