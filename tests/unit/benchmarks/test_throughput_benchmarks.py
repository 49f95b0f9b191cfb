"""What the benchmarks of speed compute from what they measured, and that their sides run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any, cast

import pytest

from mtl_ray.data.snapshot import open_snapshot
from tests.benchmarks.embedding_scale import steps as embedding_steps
from tests.benchmarks.evaluation_throughput.passes import PASSES, rows_a_second
from tests.benchmarks.measure import Measured
from tests.benchmarks.scaling import confined
from tests.benchmarks.scaling.__main__ import _verdict
from tests.benchmarks.scaling.cores import rate
from tests.benchmarks.train_throughput.bare import Loop
from tests.benchmarks.train_throughput.ours import Job
from tests.benchmarks.train_throughput.rates import over_all_epochs
from tests.benchmarks.train_throughput.worker_memory import WorkerMemory
from tests.benchmarks.train_throughput.workload import NUMBERS, TASKS, VOCABULARIES, Preparation, configured

ROWS = 5_000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Folder and snapshot of a small workload."""
    folder = tmp_path_factory.mktemp("throughput")
    found = Preparation(folder, ROWS, 300)
    return str(folder), found.check(found.run())["snapshot"]


def test_the_workload_has_the_features_that_it_promises(small: tuple[str, str]) -> None:
    snapshot = open_snapshot(small[1])
    assert len(snapshot.schema.categorical) == len(VOCABULARIES) == 20
    assert len(snapshot.schema.numeric) == NUMBERS == 13
    assert sum(snapshot.manifest.rows.values()) == ROWS
    rates = {name: rate.mean for name, rate in snapshot.manifest.label_rates["train"].items()}
    assert rates["click"] == pytest.approx(TASKS["click"], abs=0.1)
    assert rates["purchase"] is not None
    assert 0 < rates["purchase"] < rates["cart"] < rates["click"]  # type: ignore[operator]


@pytest.mark.parametrize("our_exchange", [False, True])
def test_the_loop_by_hand_trains_on_two_processes(small: tuple[str, str], our_exchange: bool) -> None:
    folder, snapshot = small
    rates = Loop(configured(folder, workers=2, epochs=2, per_worker=512), open_snapshot(snapshot), our_exchange).run()
    assert len(rates) == 2
    assert min(rates) > 0


def test_every_pass_of_an_evaluation_is_timed(small: tuple[str, str]) -> None:
    (turn,) = rows_a_second(*small, workers=2, rounds=1)
    assert set(turn) == set(PASSES)
    assert min(turn.values()) > 0


def test_rates_of_a_job() -> None:
    def step(epoch: int, seconds: float, rows: int, rate: float) -> dict[str, Any]:
        return {"kind": "step", "epoch": epoch, "seconds": seconds, "rows": rows, "samples_per_second": rate}

    records = [
        step(1, 12.0, 100, 50.0),
        step(1, 14.0, 100, 50.0),
        {"kind": "epoch", "epoch": 1, "seconds": 15.0},
        step(2, 18.0, 100, 100.0),
        step(2, 19.0, 100, 100.0),
        {"kind": "epoch", "epoch": 2, "seconds": 20.0},
    ]
    job = Job(cast(Any, None), cast(Any, None))
    found = job.check({"records": records, "seconds": 40.0, "worker_mb": 1.0})
    # The second epoch took from 15 s to 19 s; work went on from 10 s, when the first rows were there, to 20 s.
    assert found["samples_per_second"] == pytest.approx([50.0, 50.0])
    assert found["start_seconds"] == pytest.approx(30.0)


def test_the_rate_of_a_training_is_of_all_its_epochs() -> None:
    # A second for the first hundred rows, three for the next.
    run = Measured(seconds=4.0, peak_mb=0.0, figures={"samples_per_second": [100.0, 100.0 / 3.0]}, error=None)
    assert over_all_epochs(run) == pytest.approx(200.0 / 4.0)
    assert over_all_epochs(replace(run, error="killed")) is None


def test_ratios_are_taken_round_by_round() -> None:
    found = _verdict("line", 0.9, [100.0, 200.0, 100.0], [190.0, 360.0, 160.0], times=2)
    assert found.measured == "0.90 (0.80 to 0.95)"
    assert found.met is True
    assert _verdict("line", -1.1, [100.0], [111.0]).met is False
    assert _verdict("line", 0.9, [], []).met is None


def test_the_memory_of_a_worker_is_seen() -> None:
    code = "held = bytearray(80_000_000); held[::4096] = b'x' * len(held[::4096]); import time; time.sleep(30)"
    with WorkerMemory() as memory:
        child = subprocess.Popen([sys.executable, "-c", code, "RayTrainWorker"])
        deadline = time.monotonic() + 20
        while memory.peak_mb < 80 and time.monotonic() < deadline:
            time.sleep(0.1)
        child.kill()
        child.wait()
    assert 80 < memory.peak_mb < 140


@pytest.mark.parametrize("embeddings", ["rowwise_adagrad", "dense"])
def test_steps_on_tables_of_a_size(embeddings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_steps, "BATCH", 64)
    monkeypatch.setattr(embedding_steps, "WARM_UP", 1)
    monkeypatch.setattr(embedding_steps, "STEPS", 2)
    side = embedding_steps.Steps(2_000, embeddings)
    taken = side.run()
    assert len(taken) == 2
    assert side.check(taken)["step_ms"] > 0


def test_loops_that_exchange_nothing_run_at_the_same_time(small: tuple[str, str]) -> None:
    folder, snapshot = small
    arguments = {"folder": folder, "snapshot": snapshot, "epochs": 1, "options": {"per_worker": 512}}
    assert rate("apart", arguments) > 0
    with pytest.raises(RuntimeError, match="by hand \\(alone\\) failed"):
        rate("alone", {**arguments, "snapshot": folder})


def test_a_job_keeps_to_its_cores(small: tuple[str, str]) -> None:
    own = os.sched_getaffinity(0)
    arguments = {"folder": small[0], "snapshot": small[1], "workers": 1, "epochs": 1, "options": {}}
    try:
        assert isinstance(confined.job(None, **arguments), Job)
        assert os.sched_getaffinity(0) == own
        confined.job(1, **arguments)
        assert os.sched_getaffinity(0) == {min(own)}
    finally:
        os.sched_setaffinity(0, own)


def test_what_the_cores_give_is_promised_to_nobody() -> None:
    found = _verdict("line", None, [100.0, 100.0], [180.0, 160.0], times=2)
    assert found.measured == "0.85 (0.80 to 0.90)"
    assert found.goal == ""
    assert found.met is None
