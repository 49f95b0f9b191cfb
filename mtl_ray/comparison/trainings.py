"""Several trainings on one snapshot, some of them at a time, each driven by a Ray task.

Such a task holds no CPU: it waits for the workers of its own `TorchTrainer`, which hold what the config says. A
training that fails takes none of the others with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from mtl_ray.cluster import check_resources, driver_memory, ray_session
from mtl_ray.comparison.folder import ComparisonFolder
from mtl_ray.config import Config
from mtl_ray.data.snapshot import Snapshot, open_snapshot
from mtl_ray.errors import InterruptedRunError, MtlRayError
from mtl_ray.evaluation.evaluate import evaluate
from mtl_ray.evaluation.results import EvaluationResult, read_result, result_file
from mtl_ray.report.page import REPORT_FILE, publish_report
from mtl_ray.run_folder import SUMMARY_FILE, RunFolder
from mtl_ray.training.launch import train
from mtl_ray.training.progress import BoardReader, Record, start_board

Say = Callable[[str], None]

STOP_SECONDS = 30.0
"""That unfinished trainings have to stop their workers."""


@dataclass(frozen=True)
class Done:
    """How a training ended."""

    run: str | None
    """Where its run lies; None where it failed."""
    summary: dict[str, Any]
    result: EvaluationResult | None
    error: str | None


def train_all(
    configs: Sequence[Config],
    snapshot: Snapshot,
    split: str,
    parallel: int | None,
    folder: ComparisonFolder,
    say: Say,
) -> dict[str, Done]:
    """Train every config on the snapshot and evaluate its best checkpoint on `split`; its name -> how it went.

    What was trained and evaluated before in a run of the folder is kept, and an unfinished run is gone on with.

    Args:
        configs: with names of their own; each has been checked against the snapshot.
        snapshot: verified.
        split: part to evaluate on.
        parallel: trainings at a time; None: as many as the CPUs (and GPUs) have room for, at least one.
        folder: keeps the runs' places.
        say: told of beginnings, epochs and ends.

    Raises:
        ConfigError: the machine is too small.
        InterruptedRunError: Ctrl-C; unfinished trainings are stopped.
    """
    cpus = max(config.training.workers.max * config.training.cpus_per_worker for config in configs)
    gpus = max(config.training.workers.max if config.training.use_gpu else 0 for config in configs)
    at_least = parallel or min(len(configs), max(1, int((os.cpu_count() or 1) // cpus)))
    check_resources(at_least * cpus, (parallel or 1) * gpus)
    with ray_session(at_least * cpus):
        at_a_time = parallel or _room(cpus, gpus)
        say(f"{len(configs)} trainings, {min(at_a_time, len(configs))} at a time")
        board = start_board()
        with BoardReader(board, lambda record: _tell(record, say)):
            return _run(configs, snapshot, split, at_a_time, board, folder, say)


def _room(cpus: float, gpus: int) -> int:
    """How many trainings the cluster has room for."""
    present = ray.cluster_resources()
    room = present.get("CPU", 0.0) // cpus
    if gpus:
        room = min(room, present.get("GPU", 0.0) // gpus)
    return max(1, int(room))


def _run(
    configs: Sequence[Config],
    snapshot: Snapshot,
    split: str,
    at_a_time: int,
    board: Any,
    folder: ComparisonFolder,
    say: Say,
) -> dict[str, Done]:
    # One process each: torch and its threads go with the training. Ray Train starts lost workers again itself.
    drive = ray.remote(num_cpus=0, memory=driver_memory(), max_calls=1, max_retries=0)(train_and_evaluate)
    waiting, done = list(configs), dict[str, Done]()
    running: dict[Any, str] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                config = waiting.pop(0)
                run = folder.run_of(config, snapshot)
                say(f"{config.name}: {_stage(run, split)}")
                running[drive.remote(config, snapshot.place, split, run.place, Path.cwd(), board)] = config.name
            (ended, *_), _ = ray.wait(list(running))
            name = running.pop(ended)
            done[name] = _outcome(ended)
            error = done[name].error
            say(f"{name}: {'trained and evaluated' if error is None else 'failed. ' + error.splitlines()[0]}")
    except KeyboardInterrupt:
        raise InterruptedRunError("Interrupted. What was reached is kept: the same command goes on.") from None
    finally:
        _stop(list(running))
    return {config.name: done[config.name] for config in configs}


def _stop(running: list[Any]) -> None:
    """Politely at first: a training that is killed leaves an actor of Ray Train's (2.60) on the cluster for ever."""
    for training in running:
        ray.cancel(training)
    _, left = ray.wait(running, num_returns=len(running), timeout=STOP_SECONDS) if running else ([], [])
    for training in left:
        ray.cancel(training, force=True)


def _outcome(reference: Any) -> Done:
    try:
        found: Done = ray.get(reference)
    except RayError as error:  # its process died, or a fault of ours, with its traceback
        return Done(None, {}, None, str(error))
    return found


def train_and_evaluate(config: Config, snapshot: str, split: str, place: str, folder: Path, board: Any) -> Done:
    """Train the config, evaluate it and write its report, as far as its run lacks them. Runs in a Ray task.

    Args:
        config, split: as in `train_all`.
        snapshot: folder or URI of the training set.
        place: folder or URI of the run.
        folder: the driver's working directory, which the config's relative paths are relative to.
        board: `ProgressBoard` that receives the epochs.
    """
    if folder.is_dir():
        os.chdir(folder)

    def show(record: Record) -> None:
        if record["kind"] == "epoch":
            board.post.remote({**record, "training": config.name})

    try:
        run = RunFolder.open(place)
        if not _is_trained(run):
            run = train(config, _silent, show, open_snapshot(snapshot), run=run).run
        if not _is_evaluated(run, split):
            evaluate(place, split, "best", _silent)
            publish_report(place)
        return Done(place, run.summary(), read_result(result_file(run.path, split)), None)
    except MtlRayError as error:
        return Done(None, {}, None, str(error))


def _is_trained(run: RunFolder) -> bool:
    return (run.path / SUMMARY_FILE).is_file()


def _is_evaluated(run: RunFolder, split: str) -> bool:
    """The report is written last."""
    return _is_trained(run) and result_file(run.path, split).is_file() and (run.path / REPORT_FILE).is_file()


def _stage(run: RunFolder, split: str) -> str:
    if _is_evaluated(run, split):
        return "trained and evaluated before"
    return "evaluating" if _is_trained(run) else "training"


def _tell(record: Record, say: Say) -> None:
    mark = ", the best so far" if record["best"] else ""
    say(f"{record['training']}: epoch {record['epoch']}, validation loss {record['validation/loss']:.4f}{mark}")


def _silent(_: str) -> None:
    """Eight trainings that tell every stage tell nothing."""
