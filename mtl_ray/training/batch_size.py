"""Finds a global batch size before a training: the batch is doubled for as long as that pays and fits."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import torch
from ray.exceptions import OutOfMemoryError, RayTaskError, WorkerCrashedError

from mtl_ray.batch import Batch
from mtl_ray.cluster import check_cluster, check_resources, ray_session
from mtl_ray.config import Config
from mtl_ray.data.plan import BatchPlan
from mtl_ray.data.snapshot import Snapshot
from mtl_ray.data.tensors import to_batch
from mtl_ray.data.windows import local_batches
from mtl_ray.errors import ConfigError, MtlRayError
from mtl_ray.machine_memory import default_budget
from mtl_ray.run_folder import RunFolder
from mtl_ray.training.launch import Say, check_trainable, model_context, plan_batches
from mtl_ray.training.place import columns_read
from mtl_ray.training.progress import Record
from mtl_ray.training.worker import Trainer, WorkerSetup

GAIN = 0.1
"""Twice the rows have to bring so much more speed."""
STEPS_AN_EPOCH = 20
"""At least; fewer and larger steps than that are another training."""
MOST_MEMORY = 0.8
"""Of a GPU: the exchange of gradients and the allocator's fragments come on top of what one worker measures."""
WARM_UP, TIMED = 3, 5
"""Steps at each size."""
_BATCHES = 2


@dataclass(frozen=True)
class Measured:
    """What one worker's steps of one size were like."""

    rows: int
    """Of this worker."""
    samples_per_second: float
    memory: float
    """Most that was in use, as a share of what there is for it."""


@dataclass(frozen=True)
class Found:
    """What was chosen, and why no more."""

    rows: int
    """Of one worker."""
    tried: tuple[Measured, ...]
    why: str


def with_batch_size(config: Config, snapshot: Snapshot, say: Say) -> Config:
    """The config with the global batch size that one worker found, from the config's own on upwards.

    The steps are real ones, of the config's model on the training part, in a process that ends with them: the training
    begins as if they had not been. Every worker is taken to have what that one had.

    Raises ConfigError where the config's own size does not fit, or its tables are sharded.
    """
    training = config.training
    if training.placement == "sharded":
        raise ConfigError(
            "Sharded tables need all workers, and a batch size is found on one.",
            where="--find-batch-size, with training.placement=sharded",
            fix="training.placement=replicated, or write training.global_batch_size",
        )
    check_trainable(config, snapshot)
    check_resources(training.cpus_per_worker, int(training.use_gpu))
    with ray_session(training.cpus_per_worker):
        check_cluster(1, training.cpus_per_worker, training.use_gpu)
        say(f"finding a batch size, from {training.global_batch_size:,} rows on")
        task = ray.remote(max_retries=0)(find).options(
            num_cpus=training.cpus_per_worker, num_gpus=int(training.use_gpu)
        )
        found = _outcome(task.remote(config, snapshot, default_budget() // training.workers.max))
    for measured in found.tried:
        say(
            f"{measured.rows:,} rows a worker: {measured.samples_per_second:,.0f} samples/s, "
            f"{measured.memory:.0%} of its memory"
        )
    size = found.rows * training.workers.max
    say(f"training.global_batch_size={size}, because {found.why}; training.optimizer.learning_rate is left as it is")
    return config.model_copy(update={"training": training.model_copy(update={"global_batch_size": size})})


def _outcome(task: Any) -> Found:
    try:
        found: Found = ray.get(task)
    except RayTaskError as error:
        if isinstance(error.cause, MtlRayError):
            raise error.cause from None
        raise
    except (WorkerCrashedError, OutOfMemoryError) as error:
        raise ConfigError(
            "The process that was to find a batch size was killed, as it is where memory is short.",
            where="--find-batch-size",
            found=str(error).split("\n")[0],
            fix="begin with a smaller training.global_batch_size",
        ) from error
    return found


def find(config: Config, snapshot: Snapshot, budget: int) -> Found:
    """Measure in this process.

    Args:
        budget: bytes that a worker on a CPU may add to this process.

    Raises ConfigError where the config's own size does not fit.
    """
    with Steps(config, snapshot, budget) as steps:
        rows = config.training.global_batch_size // config.training.workers.max
        return doubled(rows, steps.rows // STEPS_AN_EPOCH // config.training.workers.max, steps.measure)


def doubled(rows: int, most: int, measure: Callable[[int], Measured | None]) -> Found:
    """The largest size from `rows` on, by doubling, up to which each brought `GAIN` more samples a second.

    Args:
        most: no size above it is tried.
        measure: None where a size does not fit.

    Raises ConfigError where `rows` does not fit.
    """
    first = measure(rows)
    if first is None:
        raise ConfigError(
            "The batch that the search for a batch size begins with does not fit.",
            where="training.global_batch_size",
            found=f"{rows:,} rows a worker",
            fix="begin with fewer, or set training.accumulate",
        )
    tried = [first]
    while True:
        best = tried[-1]
        if 2 * best.rows > most:
            why = f"twice as many rows would leave fewer than {STEPS_AN_EPOCH} steps an epoch"
            break
        if 2 * best.memory > 1:
            why = "twice as many rows would not fit in memory"
            break
        more = measure(2 * best.rows)
        if more is None:
            why = "twice as many rows did not fit in memory"
            break
        tried.append(more)
        if more.samples_per_second < (1 + GAIN) * best.samples_per_second:
            gain = more.samples_per_second / best.samples_per_second - 1
            why = f"twice as many rows bring {gain:+.0%} samples/s, and {GAIN:.0%} were asked for"
            break
    return Found(best.rows, tuple(tried), why)


class Steps:
    """Context manager: one worker's training steps at any size."""

    def __init__(self, config: Config, snapshot: Snapshot, budget: int) -> None:
        self._config = config
        self._snapshot = snapshot
        self._budget = budget
        self._context = model_context(config, snapshot)
        self._plan = plan_batches(config, snapshot)
        self.rows = self._plan.train_segment(1).rows
        """Of the training part."""

    def __enter__(self) -> Steps:
        self._folder = tempfile.TemporaryDirectory(prefix="batch-size-")
        run = RunFolder.at(Path(self._folder.name) / "run", self._config)
        setup = WorkerSetup(self._config, self._context, self._plan, self._snapshot.schema, None, run)
        self._trainer = Trainer(setup, _Alone(self._config.training.use_gpu))
        self._before = _peak()
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def measure(self, rows: int) -> Measured | None:
        """Steps of `rows` rows; None where the device has no memory for them."""
        device = self._trainer.device
        try:
            batches = self._batches(rows)
            for batch in islice(batches, WARM_UP):
                self._trainer.step(batch)
            _wait(device)
            began = time.perf_counter()
            for batch in islice(batches, TIMED):
                self._trainer.step(batch)
            _wait(device)
            seconds = time.perf_counter() - began
        except torch.OutOfMemoryError:
            self._trainer.state.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            return None
        return Measured(rows, TIMED * rows / seconds, self._memory(device))

    def _batches(self, rows: int) -> Iterator[Batch]:
        plan: BatchPlan = replace(self._plan, global_batch_size=rows, window_rows=rows)
        columns = columns_read(self._config, self._context)
        tables = islice(local_batches(plan, columns, ahead=0), _BATCHES)
        read = [to_batch(table, self._context.batch_schema, self._snapshot.schema) for table in tables]
        return cycle(read)

    def _memory(self, device: torch.device) -> float:
        if device.type == "cuda":
            total = torch.cuda.get_device_properties(device).total_memory
            return torch.cuda.max_memory_reserved(device) / (MOST_MEMORY * total)
        return (_peak() - self._before) / self._budget


class _Alone:
    """`mtl_ray.training.place.TrainingPlace` of steps that leave nothing."""

    def __init__(self, use_gpu: bool) -> None:
        self._use_gpu = use_gpu

    def device(self) -> torch.device:
        return torch.device("cuda" if self._use_gpu else "cpu")

    def tables(self, plan: BatchPlan) -> Iterator[pa.Table]:  # noqa: ARG002
        return iter(())

    @contextmanager
    def checkpoint(self) -> Iterator[Path | None]:
        yield None

    @contextmanager
    def saving(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

    def report(self, metrics: dict[str, Any], folder: Path | None) -> None:
        """There is none."""

    def post(self, record: Record) -> None:
        """Nobody is told."""


def _peak() -> int:
    """Bytes of this process that were in use at most."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
