"""From a config to a finished run: the driver's side of training."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig
from ray.train.torch import TorchConfig

from mtl_ray.checkpoint import ModelContext, TrainingPosition
from mtl_ray.cluster import check_cluster, check_resources, ray_session
from mtl_ray.config import Config
from mtl_ray.config.workers import in_words
from mtl_ray.data.building.append import newest_training_set
from mtl_ray.data.contract import CONTRACT_FILE
from mtl_ray.data.contract.table import summary_line
from mtl_ray.data.narrowing import check_narrowing, narrowed, narrowed_statistics
from mtl_ray.data.plan import BatchPlan, Position, chunks_of
from mtl_ray.data.snapshot import TRAINING_SETS, Snapshot, build_training_set, open_snapshot
from mtl_ray.data.splits import PARTS
from mtl_ray.data.staging import writable_place
from mtl_ray.environment import unless_set
from mtl_ray.errors import DataError, DivergedError, InterruptedRunError, MtlRayError
from mtl_ray.evaluation.fit_fusion import fit_fusion
from mtl_ray.models.next_item import check_two_towers
from mtl_ray.optim.sharded import check_installed
from mtl_ray.run_folder import CHECKPOINTS, SUMMARY_FILE, RunFolder, mark_latest, write_json
from mtl_ray.storage import below
from mtl_ray.tasks import BinaryTaskConfig, NextItemTaskConfig
from mtl_ray.tracking import check_mlflow
from mtl_ray.training.frozen import freeze
from mtl_ray.training.frugal_trainer import FrugalTrainer
from mtl_ray.training.placement import check_sharding, with_placement
from mtl_ray.training.profile import STEPS as PROFILED
from mtl_ray.training.profile import WARM_UP as PROFILE_FROM
from mtl_ray.training.progress import BoardReader, Record, start_board
from mtl_ray.training.run_records import RunRecords
from mtl_ray.training.scaling import latest_position, scaling
from mtl_ray.training.table_memory import table_memory
from mtl_ray.training.warm_start import earlier_checkpoint, first_weights
from mtl_ray.training.worker import SCORE, WorkerSetup, train_worker

Say = Callable[[str], None]

NEWEST = "newest"
"""`training.training_set`: whichever was built last."""


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training left."""

    run: RunFolder
    summary: dict[str, Any]


def train(
    config: Config,
    say: Say,
    show: Callable[[Record], None],
    snapshot: Snapshot | None = None,
    parts: Sequence[str] = ("train",),
    run: RunFolder | None = None,
) -> TrainingOutcome:
    """Find or build the training set, train, and leave a run folder.

    Args:
        config: the resolved config.
        say: receives a sentence whenever a stage begins.
        show: receives every record that the workers post, from another thread.
        snapshot: a verified training set to train on instead, whose tasks are those of the config and perhaps more
            (see `mtl_ray.data.narrowing`). Nothing is built then, and the config's features and training_set say only
            where it came from.
        parts: of the training set to learn from. With the validation part among them the validation metrics are of
            rows that were learnt, and say nothing.
        run: a run to go on with; None: a new one.

    Raises:
        UserError: something that the user can mend, before any worker has started.
        MtlRayError: training failed; the message names the run folder, whose last checkpoint is whole.
    """
    writable_place(config.storage)
    workers = config.training.workers
    if config.training.placement == "sharded":
        check_installed()
    check_resources(workers.max * config.training.cpus_per_worker, workers.max if config.training.use_gpu else 0)
    if config.tracking.mlflow is not None:
        check_mlflow(config.tracking.mlflow, config.storage)
    if snapshot is None:
        snapshot = verified_training_set(config, say)
    check_trainable(config, snapshot, begins=run is None)
    config, placed = with_placement(config, model_context(config, snapshot))
    if placed is not None:
        say(placed)
    check_sharding(config, model_context(config, snapshot))
    start = earlier_checkpoint(config) if run is None else None
    if start is not None:
        words = first_weights(config, model_context(config, snapshot), start).in_words()
        say(f"beginning with the weights of {config.training.start_from}: {words}")
    plan = plan_batches(config, snapshot, parts)
    if run is None:
        run = RunFolder.create(config, json.loads((snapshot.path / "manifest.json").read_text()))
    shutil.copyfile(snapshot.path / CONTRACT_FILE, run.path / CONTRACT_FILE)
    say(f"run folder {run.place}")
    if config.training.placement == "sharded":
        say(_about_sharding(config))
    if config.training.profile and plan.total_batches < PROFILE_FROM + PROFILED:
        say(
            f"training.profile needs {PROFILE_FROM + PROFILED} steps and this training has at most "
            f"{plan.total_batches}: there will be no profile"
        )
    say(
        f"starting Ray and {in_words(workers)}: {plan.batches_per_epoch} steps of {plan.global_batch_size:,} rows an "
        f"epoch, up to {config.training.epochs} epochs"
    )
    with RunRecords(config, run, show) as records:
        summary = _trained(config, snapshot, plan, run, records, say)
    mark_latest(run)
    return TrainingOutcome(run, summary)


def _trained(
    config: Config, snapshot: Snapshot, plan: BatchPlan, run: RunFolder, records: RunRecords, say: Say
) -> dict[str, Any]:
    """Train on Ray; returns the summary, which is written."""
    training = config.training
    workers = training.workers
    with ray_session(workers.max * training.cpus_per_worker):
        check_cluster(workers.min, training.cpus_per_worker, training.use_gpu)
        say("Ray is up, workers are starting")
        result = fit(config, snapshot, plan, run, records.receive)
        if "failed" in result.return_value:
            raise MtlRayError(f"Training failed: {result.return_value['failed']}\n  run:     {run.place}")
        if "diverged" in result.return_value:
            raise DivergedError(f"{result.return_value['diverged']}\n  run:     {run.place}")
        best = Path(max(result.best_checkpoints, key=lambda entry: entry[1][SCORE])[0].path).name
        fusion = fit_fusion(config, snapshot, run.checkpoint_place(best), run.predictions("validation"), say)
    position = TrainingPosition.model_validate(result.return_value["position"])
    summary = {
        "epochs": position.epoch - 1,
        "steps": position.step,
        "metric": config.training.early_stopping.metric,
        "best": position.best,
        "best_epoch": position.best_epoch,
        "stopped_early": position.epoch <= config.training.epochs,
        "seconds": result.return_value["seconds"],
        "parameters": result.return_value["parameters"],
        "training_set": snapshot.place,
        "checkpoints": {"best": best, "last": Path(result.checkpoint.path).name},
    }
    if fusion is not None:
        summary["score"] = fusion.model_dump()
    write_json(run.path / SUMMARY_FILE, summary)
    run.publish()
    records.keep()
    return summary


def _about_sharding(config: Config) -> str:
    if config.training.workers.max == 1:
        return "training.placement=sharded changes nothing with one worker"
    clipped = "" if config.training.clip_norm is None else "; training.clip_norm is of all other parameters"
    return f"embedding tables are sharded over {in_words(config.training.workers)}{clipped}"


def verified_training_set(config: Config, say: Say, parts: Sequence[str] = PARTS) -> Snapshot:
    """The config's training set, built, or found and whole, as far as `parts` go: only their files are read.

    Raises UserError as `build_training_set` and `open_snapshot` do.
    """
    named = config.training.training_set
    if named is not None:
        sets = below(config.storage, TRAINING_SETS)
        place = newest_training_set(sets, config.features.service) if named == NEWEST else named
        say(f"verifying the training set {place}")
        return open_snapshot(place, verify=True, parts=parts)
    snapshot = build_training_set(
        config.storage, config.features, config.training_set, config.tasks, config.evaluation.group_by, say
    )
    say(f"data contract: {summary_line(snapshot.contract())}")
    if snapshot.found:
        say("verifying its checksums")
        open_snapshot(snapshot.place, verify=True, parts=parts)
    return snapshot


def check_trainable(config: Config, snapshot: Snapshot, begins: bool = True) -> None:
    """Raise `UserError` where the config cannot be trained on the snapshot, as far as can be told beforehand.

    `begins`: the training has no checkpoint of its own, so that what it starts from has to be there.
    """
    check_narrowing(snapshot.manifest, config.tasks, config.evaluation.group_by)
    start = earlier_checkpoint(config) if begins else None
    if start is not None:
        first_weights(config, model_context(config, snapshot), start)
    _check_metric_is_defined(config, snapshot)
    config.model.check_features(snapshot.schema)
    for name, task in config.tasks.items():
        if isinstance(task, NextItemTaskConfig):
            check_two_towers(name, task, snapshot.schema)
    _check_frozen(config, snapshot)


def _check_frozen(config: Config, snapshot: Snapshot) -> None:
    """Raise ConfigError where training.frozen names no part of the model, or all of it."""
    if not config.training.frozen:
        return
    # Names do not depend on the size of the tables, which may be too large to build here.
    schema = narrowed(snapshot.schema, config.tasks)
    schema = schema.model_copy(update={"vocabularies": dict.fromkeys(schema.vocabularies, 2)})
    statistics = narrowed_statistics(snapshot.manifest, config.tasks)
    tasks = {name: task.build(name, statistics[name]) for name, task in config.tasks.items()}
    freeze(config.model.build(schema, tasks), config.training.frozen)


def _check_metric_is_defined(config: Config, snapshot: Snapshot) -> None:
    """Raise DataError where the validation part cannot give the early-stopping metric any value."""
    metric = config.training.early_stopping.metric
    parts = metric.split("/")
    if len(parts) != 3:
        return
    _, task, name = parts
    rate = snapshot.manifest.label_rates["validation"][task]
    ranked = isinstance(config.tasks[task], BinaryTaskConfig | NextItemTaskConfig)
    one_class = ranked and rate.mean in (0.0, 1.0)
    without_query = isinstance(config.tasks[task], NextItemTaskConfig) and rate.mean == 0.0 and name == "loss"
    of_both = one_class and name in ("roc_auc", "gauc", "pr_auc", "normalized_entropy")
    if rate.observed and not of_both and not without_query:
        return
    raise DataError(
        "The early-stopping metric is not defined on the validation part.",
        where=f"training.early_stopping.metric: {metric}",
        found=f"{rate.observed} labels of {task}" + (", all of one class" if rate.observed else ""),
        allowed="labels, of both classes for a ranking metric",
        fix="another metric, or a larger validation part (training_set.split)",
    )


def plan_batches(config: Config, snapshot: Snapshot, parts: Sequence[str] = ("train",)) -> BatchPlan:
    """Which rows of `parts` every step of the training takes."""
    training = config.training
    groups = snapshot.manifest.row_group_rows
    return BatchPlan(
        train=tuple(chunk for part in parts for chunk in chunks_of(snapshot.files(part), groups)),
        validation=chunks_of(snapshot.files("validation"), groups),
        epochs=training.epochs,
        global_batch_size=training.global_batch_size,
        window_rows=training.shuffle_window,
        seed=config.seed,
    )


def model_context(config: Config, snapshot: Snapshot) -> ModelContext:
    """What a model of `config` needs of the snapshot beside its rows."""
    return ModelContext(
        training_set=snapshot.manifest.id,
        batch_schema=narrowed(snapshot.schema, config.tasks),
        preprocessing=snapshot.manifest.preprocessing,
        label_statistics=narrowed_statistics(snapshot.manifest, config.tasks),
    )


def fit(config: Config, snapshot: Snapshot, plan: BatchPlan, run: RunFolder, show: Callable[[Record], None]) -> Any:
    """Train on Ray Train's workers, from the run folder's last checkpoint where it has one; Ray must be connected.

    Returns Ray Train's `Result`, whose `return_value` is that of `train_worker`. Raises `MtlRayError` as `train` does.
    """
    training = config.training
    context = model_context(config, snapshot)
    checkpoints = run.checkpoints

    board = start_board()
    # Once it has a checkpoint of its own, what it began with may be gone.
    start = earlier_checkpoint(config) if latest_position(checkpoints) == Position() else None
    memory = table_memory(training) if training.placement == "sharded" else None
    setup = WorkerSetup(config, context, plan, snapshot.schema, board, run, start, memory)
    trainer = FrugalTrainer(
        train_worker,
        train_loop_config={"setup": setup},
        torch_config=TorchConfig(backend="nccl" if training.use_gpu else "gloo"),
        scaling_config=scaling(training),
        run_config=RunConfig(
            storage_path=run.place,
            name=CHECKPOINTS,
            failure_config=FailureConfig(max_failures=training.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2, checkpoint_score_attribute=SCORE),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )
    try:
        with BoardReader(board, show), _stopped_by_signals(), unless_set(_health_check_interval(plan)):
            return trainer.fit()
    except SystemExit:  # how Ray Train ends the process once Ctrl-C, or SIGTERM, has stopped the workers
        raise InterruptedRunError(f"Interrupted. The run folder {run.place} keeps what was reached.") from None
    except ray.train.TrainingFailedError as error:
        raise MtlRayError(f"Training failed. The run folder {run.place} keeps what was reached.\n{error}") from error


def _health_check_interval(plan: BatchPlan) -> dict[str, str]:
    """Environment that says how often Ray Train looks at its workers, for their reports and their health: at its own
    2 s a short training waits longer than it works, and each look takes a bit of every rank's time."""
    seconds = min(2.0, max(0.3, plan.total_batches * plan.global_batch_size / 1e6))
    return {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": str(seconds)}


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM stops the workers as Ctrl-C does: a controller of Ray Train (2.60) that dies with its driver instead may
    leave an actor on the cluster for ever. Ray Train's own answer to Ctrl-C, which would ask a controller that is gone,
    goes at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        yield
    finally:
        for number, answer in before.items():
            signal.signal(number, answer)


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    answer = signal.getsignal(signal.SIGINT)
    assert callable(answer)
    answer(signal.SIGINT, frame)
