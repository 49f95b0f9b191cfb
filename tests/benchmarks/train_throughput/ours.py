"""Our whole path: the snapshot through Ray Data to Ray Train's workers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from mtl_ray.config import Config
from mtl_ray.data.snapshot import Snapshot, open_snapshot
from mtl_ray.training.launch import train
from tests.benchmarks.measure import Side
from tests.benchmarks.train_throughput.worker_memory import WorkerMemory
from tests.benchmarks.train_throughput.workload import configured


@dataclass
class Job:
    """One training."""

    config: Config
    snapshot: Snapshot

    def warm_up(self) -> None:
        """Nothing: imports are done."""

    def run(self) -> dict[str, Any]:
        """Records of the run, with the seconds at which the job began and ended on this process's clock."""
        records: list[dict[str, Any]] = []
        began = time.monotonic()
        with WorkerMemory() as memory:
            train(self.config, lambda _: None, records.append, self.snapshot)
        return {"records": records, "seconds": time.monotonic() - began, "worker_mb": memory.peak_mb}

    def check(self, result: dict[str, Any]) -> dict[str, Any]:
        """Samples a second of each epoch, from the end of the one before (its validation and checkpoint included) to
        its last step; the first epoch counts from the first rows' arrival."""
        records = result["records"]
        ends = [record["seconds"] for record in records if record["kind"] == "epoch"]
        steps = [record for record in records if record["kind"] == "step"]
        rates = []
        for epoch in range(1, len(ends) + 1):
            own = [record for record in steps if record["epoch"] == epoch]
            rows = sum(record["rows"] for record in own)
            if epoch == 1:
                rates.append(rows / sum(record["rows"] / record["samples_per_second"] for record in own))
            else:
                rates.append(rows / (own[-1]["seconds"] - ends[epoch - 2]))
        working = ends[-1] - steps[0]["seconds"] + steps[0]["rows"] / steps[0]["samples_per_second"]
        return {
            "samples_per_second": rates,
            "start_seconds": result["seconds"] - working,
            "worker_mb": result["worker_mb"],
        }


def job(folder: str, snapshot: str, workers: int, epochs: int, options: dict[str, Any]) -> Side:
    """Target of `measure`; `options` of `configured`."""
    return Job(configured(folder, workers, epochs, **options), open_snapshot(snapshot))
