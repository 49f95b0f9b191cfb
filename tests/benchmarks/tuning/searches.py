"""Searches by jobs/tune.py, each in a process of its own, and what they left."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from mtl_ray.data.snapshot import open_snapshot
from mtl_ray.evaluation.predict import predict_part
from mtl_ray.metrics.metric import FloatArray
from mtl_ray.tuning.finish import config_of, read
from mtl_ray.tuning.folder import SearchFolder
from mtl_ray.tuning.outcome import Trial
from tests.benchmarks.balancing_quality.replicates import auc_replicates
from tests.benchmarks.quality.data_set import ROOT
from tests.benchmarks.results import say


@dataclass(frozen=True)
class Searched:
    """A finished search."""

    folder: SearchFolder
    summary: Mapping[str, Any]

    @property
    def epochs(self) -> int:
        """Of all trials together."""
        return int(self.summary["epochs"])

    @property
    def overhead(self) -> float:
        """Wall time over what the trials' own training would take without any pause between them."""
        return float(self.summary["wall_seconds"]) / (self.summary["training_seconds"] / self.summary["concurrent"])

    @property
    def scores(self) -> list[tuple[float, ...]]:
        """Objectives of the front's trials."""
        return [tuple(point["objective"].values()) for point in self.summary["front"]]

    def trial(self, number: int) -> Trial:
        """By its number."""
        return read(self.folder).trial(number)

    def objective_replicates(self, number: int, metrics: Mapping[str, float]) -> FloatArray:
        """The weighted sum of tasks' AUC of a trial's kept checkpoint on resamples of the validation part's users."""
        trial = self.trial(number)
        assert trial.checkpoint is not None
        config = config_of(self.folder.config(), trial)
        snapshot = open_snapshot(self.folder.asked().training_set)
        out = self.folder.path / "predictions" / str(number)
        table = predict_part(config, snapshot, "validation", self.folder.path / trial.checkpoint, out)
        each = auc_replicates(table, config)
        return np.sum([weight * np.array(each[name.split("/")[1]]) for name, weight in metrics.items()], axis=0)


def searched(folder: Path, name: str, config: Mapping[str, Any], space: Mapping[str, Any], *options: str) -> Searched:
    """The search `name` in `folder`, found or made. Raises RuntimeError where the job fails."""
    own = folder / name
    kept = own / "result.json"
    if not kept.exists():
        own.mkdir(parents=True, exist_ok=True)
        (own / "config.yaml").write_text(yaml.safe_dump(dict(config), sort_keys=False))
        (own / "space.yaml").write_text(yaml.safe_dump(dict(space), sort_keys=False))
        files = ("--config", str(own / "config.yaml"), "--space", str(own / "space.yaml"))
        done = subprocess.run(
            [sys.executable, str(ROOT / "jobs" / "tune.py"), *files, *options],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{name}: jobs/tune.py ended with status {done.returncode}")
        kept.write_text(done.stdout)
    found = json.loads(kept.read_text())
    say(f"· {name}: {found['epochs']} epochs, {found['wall_seconds']:.0f} s", markup=False)
    return Searched(SearchFolder.open(found["run"]), found)


def table_of(search: Searched) -> list[dict[str, Any]]:
    """Rows of its trials.parquet."""
    rows: list[dict[str, Any]] = pq.read_table(search.folder.trials).to_pylist()
    return rows
