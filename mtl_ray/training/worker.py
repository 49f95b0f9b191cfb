"""What every worker runs: the whole training, from its share of the stream to checkpoints."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import ray
import torch

from mtl_ray import distributed
from mtl_ray.batch import Batch
from mtl_ray.checkpoint import ModelContext, load_checkpoint
from mtl_ray.config import Config
from mtl_ray.data.plan import BatchPlan, Position
from mtl_ray.data.stream import share_of
from mtl_ray.data.tensors import to_batch
from mtl_ray.embedding_table import deferred_tables
from mtl_ray.errors import DivergedError, MtlRayError
from mtl_ray.models import MultiTaskModel
from mtl_ray.optim import embedding_rows, sharded_adagrad, sharded_rate
from mtl_ray.optim.sharded import gather_tables, in_words, release_tables, shard_tables, sharded_tables
from mtl_ray.process_memory import keep_freed_memory
from mtl_ray.run_folder import RunFolder
from mtl_ray.schema import BatchSchema
from mtl_ray.training.arithmetic import allow_tf32, arithmetic, precision_of
from mtl_ray.training.clock import Clock
from mtl_ray.training.compilation import Compilation
from mtl_ray.training.faults import FAULTS, told_of
from mtl_ray.training.gauges import TrainingGauges
from mtl_ray.training.place import RayTrainPlace, TrainingPlace, columns_read
from mtl_ray.training.profile import INPUT, Profiling, span
from mtl_ray.training.state import TrainingState
from mtl_ray.training.step import TrainStep
from mtl_ray.training.table_memory import sharding_request
from mtl_ray.training.validation import Groups, is_better, validate
from mtl_ray.training.warm_start import first_weights
from mtl_ray.training.worker_log import worker_log

SCORE = "checkpoint_score"
"""Reported with every checkpoint: the signed value of the early-stopping metric where it was the best so far."""

NOT_THE_BEST = -sys.float_info.max
"""Score of every other checkpoint. Finite, because Ray keeps scores in JSON."""


@dataclass(frozen=True)
class WorkerSetup:
    """What the driver gives to every worker."""

    config: Config
    context: ModelContext
    plan: BatchPlan
    """From the first batch on; a restarted worker takes its position from the checkpoint."""
    stored: BatchSchema
    """The snapshot's schema, which may have more tasks than the model."""
    board: Any
    """Handle of the `ProgressBoard` actor."""
    run: RunFolder
    """Every process sees its `place`."""
    start: str | None = None
    """Checkpoint of an earlier run, whose weights a training begins with that has no checkpoint of its own."""
    table_memory: int | None = None
    """Of `mtl_ray.training.table_memory`, for sharded tables."""


def train_worker(parameters: dict[str, WorkerSetup]) -> dict[str, Any]:
    """Train, and report a checkpoint after every epoch. Runs on every rank; all its collectives are in step.

    Args:
        parameters: the `WorkerSetup` under "setup" (Ray Train hands over a dict).

    Returns:
        `position` (the final `TrainingPosition`), `parameters` (of the model) and `seconds` (since the worker began),
        or else `diverged`, the message of a DivergedError, or `failed`, that of an error which would come again.
    """
    setup = parameters["setup"]
    board = setup.board
    if (failure := ray.get(board.failure.remote())) is not None:
        return {"failed": failure}
    try:
        trainer = Trainer(setup, RayTrainPlace(board, setup.run.checkpoints, columns_read(setup.config, setup.context)))
        trainer.run()
    except DivergedError as error:
        # Returned, not raised: Ray would start the workers again, and they would diverge again.
        return {"diverged": str(error)}
    except FAULTS as error:
        # Raised, because the other ranks wait in collectives for this one; once they are started again they end above.
        ray.get(board.fail.remote(told_of(error)))
        raise
    return {
        "position": trainer.state.position.model_dump(),
        "parameters": trainer.parameters,
        "seconds": round(time.monotonic() - trainer.started, 1),
    }


class Trainer:
    """The loop of one rank: `run`, or `begin`, `train_epoch` until it is `over`, and `end`."""

    def __init__(self, setup: WorkerSetup, place: TrainingPlace) -> None:
        self.started = time.monotonic()
        self.setup = setup
        self.place = place
        self.config = config = setup.config
        self.device = place.device()
        self.gauges = TrainingGauges(setup.run.path.name, distributed.rank())
        self.log = worker_log(setup.run.path.name, distributed.rank())
        keep_freed_memory()
        self.precision = precision_of(config.training.precision, self.device)
        allow_tf32(self.device, self.precision)
        torch.manual_seed(config.seed)
        tasks = {name: task.build(name, setup.context.label_statistics[name]) for name, task in config.tasks.items()}
        sharded = config.training.placement == "sharded" and distributed.world_size() > 1
        with deferred_tables() if sharded else nullcontext():
            model = config.model.build(setup.context.batch_schema, tasks)
        if self.precision == "fp64":
            model.double()
        if sharded:
            self._shard(model)
        model.to(self.device)
        self._begin_with(setup.start, model)
        self.state = TrainingState.create(config, setup.context, model, setup.plan.total_batches)
        self._restore()
        self.tasks = tasks
        self.model = model
        self.step = TrainStep(
            model,
            tasks,
            self.state.weighting,
            self.state.optimizer,
            self.state.schedule,
            config.training.clip_norm,
            self.precision,
            self.device,
            self.state.aggregation,
            config.aggregation.on,
            config.training.max_skipped_steps,
            config.training.accumulate,
        )
        self.step.epoch_totals.restore(self.state.epoch_totals)
        self.compilation = Compilation(model, config.training.compile, self.device)
        self.share = share_of(setup.plan.global_batch_size, distributed.world_size())
        batches = setup.plan.batches_per_epoch
        self.log_every = config.training.log_every or max(1, batches // 20)
        self.profiling: Profiling | None = None
        if config.training.profile and distributed.rank() == 0:
            self.profiling = Profiling(setup.run.path, self.device, setup.plan.global_batch_size)

    def _shard(self, model: MultiTaskModel) -> None:
        training = self.config.training
        of_machine = distributed.ranks_a_machine(self.device)
        request = sharding_request(training, distributed.world_size(), of_machine, self.setup.table_memory)
        adagrad, rate = sharded_adagrad(training.optimizer), sharded_rate(training.optimizer)
        shard_tables(model, self.config.seed, adagrad, rate, request, self.device)

    def run(self) -> None:
        """Train from the current position to the end, or until early stopping."""
        self.begin()
        while not self.over:
            self.train_epoch()
        self.end()

    @property
    def over(self) -> bool:
        """Whether there is no epoch left, or early stopping has come."""
        return self.state.position.epoch > self.config.training.epochs or self._stopped()

    def begin(self) -> None:
        """Open the stream of rows, from the current position on."""
        rows = embedding_rows(self.model)
        sharded = sharded_tables(self.model)
        self._post(
            {
                "kind": "start",
                "epoch": self.state.position.epoch,
                "step": self.state.position.step,
                "workers": distributed.world_size(),
                "device": str(self.device),
                "arithmetic": arithmetic(self.device, self.precision),
                "parameters": self.parameters,
                "embedding_rows": rows,
                "embedding_optimizer": self._embedding_optimizer(rows),
                **({"sharding": in_words([table.plan for table in sharded])} if sharded else {}),
            }
        )
        self.log.info("training on %s, one of %d workers", self.device, distributed.world_size())
        self.stream = self._stream()

    def train_epoch(self) -> None:
        """What is left of the epoch, its validation pass and its checkpoint."""
        self._take_steps(self.stream)
        self._end_epoch(self.stream)

    def end(self) -> None:
        """Close the stream."""
        self.stream.close()

    @property
    def parameters(self) -> int:
        """Number of parameters of the model."""
        sharded = sum(table.rows * table.dim for table in sharded_tables(self.model))
        return sharded + sum(parameter.numel() for parameter in self.model.parameters())

    def _embedding_optimizer(self, rows: int) -> str:
        if sharded_tables(self.model):
            return "rowwise_adagrad, sharded"
        optimizer = self.config.training.optimizer
        chosen = optimizer.embeddings.chosen(rows, optimizer.embedding_weight_decay)
        if chosen != optimizer.embeddings.chosen(rows, 0.0):
            return f"{chosen.model_dump()['name']}, for embedding_weight_decay is of every row"
        return str(chosen.model_dump()["name"])

    def _restore(self) -> None:
        with self.place.checkpoint() as folder:
            if folder is None:
                return
            self.state.restore(load_checkpoint(folder))
        self.log.info("going on after step %d", self.state.position.step)

    def _begin_with(self, start: str | None, model: MultiTaskModel) -> None:
        if start is None:
            return
        with self.place.checkpoint() as own:
            if own is None:
                model.load_state_dict(first_weights(self.config, self.setup.context, start).weights, strict=False)

    def _stopped(self) -> bool:
        patience = self.config.training.early_stopping.patience
        return patience is not None and self.state.position.epochs_without_better >= patience

    def _stream(self) -> Generator[tuple[Batch, Groups | None], None, None]:
        schema = self.setup.context.batch_schema
        group_by = self.config.evaluation.group_by
        position = self.state.position
        for table in self.place.tables(replace(self.setup.plan, start=Position(position.epoch, position.batch))):
            groups = table.column(group_by).to_numpy() if group_by else None
            yield to_batch(table, schema, self.setup.stored), groups

    def _take_steps(self, stream: Iterator[tuple[Batch, Groups | None]]) -> None:
        position = self.state.position
        batches = self.setup.plan.batches_per_epoch
        every = self.config.training.checkpoint_every
        clock = Clock()
        for done in range(position.batch + 1, batches + 1):
            with span(INPUT), clock.waiting():
                batch, _ = next(stream)
            if len(batch) != self.share:
                raise MtlRayError(f"rank {distributed.rank()} received {len(batch)} rows of a batch, not {self.share}")
            clock.start()
            number = self.state.position.step
            # Dropout draws anew on every rank and in every step, and the same again after a restart.
            torch.manual_seed(hash((self.config.seed, distributed.rank(), number)) % 2**63)
            with self.compilation.step():
                affinity_TT = self.step(batch, self.state.affinity.due(number))
            if affinity_TT is not None:
                self.state.affinity.add(number, affinity_TT)
            clock.rows += self.setup.plan.global_batch_size
            step = self.state.advance(batch=done)
            self._after_step(step)
            if done % self.log_every == 0 or done == batches:
                self._log_step(clock, step)
                clock = Clock()
            if every and step % every == 0 and done < batches:
                self.state.epoch_totals = self.step.epoch_totals.gather_on_first()
                self._report({}, NOT_THE_BEST)

    def _after_step(self, step: int) -> None:
        if (words := self.compilation.decided()) is not None:
            self._post({"kind": "compile", "step": step, "words": words})
        if self.profiling is not None and self.profiling.after_step(step):
            assert self.profiling.found is not None
            self.setup.run.publish()
            self._post({"kind": "profile", "step": step, "words": self.profiling.found.in_words()})

    def _log_step(self, clock: Clock, step: int) -> None:
        """Post losses and speed since the last such record. Collective."""
        losses = self.step.totals.means()
        self.step.totals.reset()
        position = self.state.position
        self.gauges.set(step, clock.rows / clock.seconds / distributed.world_size(), clock.waited_share)
        if distributed.rank() == 0:
            self.gauges.set_losses(losses)
        self._post(
            {
                "kind": "step",
                "epoch": position.epoch,
                "step": step,
                "epoch_step": position.batch,
                "epoch_steps": self.setup.plan.batches_per_epoch,
                "rows": clock.rows,
                "seconds": round(time.monotonic() - self.started, 3),
                "samples_per_second": round(clock.rows / clock.seconds, 1),
                "input_wait_share": round(clock.waited_share, 4),
                "learning_rate": self.state.learning_rate,
                **self._training_losses(losses),
                **self._task_weights(),
                **self._balance(),
            }
        )

    def _end_epoch(self, stream: Iterator[tuple[Batch, Groups | None]]) -> None:
        training = self.config.training
        position = self.state.position
        losses = self.step.epoch_totals.means()
        self.step.epoch_totals.reset()
        self.state.epoch_totals.zero_()
        weights = self._task_weights()
        self.state.weighting.end_epoch({task: losses[task] for task in self.tasks})
        shares = self.setup.plan.validation_segment(position.epoch).batches
        values = validate(
            self.state.served, (next(stream) for _ in range(shares)), self.tasks, self.device, self.precision
        )
        validation = {"loss": self._total({task: values[f"{task}/loss"] for task in self.tasks}), **values}
        metrics = {f"validation/{name}": value for name, value in validation.items()}
        metric = training.early_stopping.metric
        better = is_better(
            metrics[metric],
            position.best,
            training.early_stopping.greater_is_better,
            training.early_stopping.min_delta,
        )
        self.state.end_epoch(metrics[metric], better)
        record = {
            "kind": "epoch",
            "epoch": position.epoch,
            "step": position.step,
            "seconds": round(time.monotonic() - self.started, 3),
            **self._training_losses(losses),
            **weights,
            **metrics,
            "best": better,
        }
        self._post(record)
        self.log.info("epoch %d is done after %d steps", position.epoch, position.step)
        sign = 1.0 if training.early_stopping.greater_is_better else -1.0
        self._report(record, score=sign * metrics[metric] if better else NOT_THE_BEST)

    def _report(self, metrics: dict[str, Any], score: float) -> None:
        """Barrier of all ranks; rank 0 brings the checkpoint. The highest score is the one to keep beside the last."""
        metrics = {**metrics, SCORE: score}
        gather_tables(self.model)
        if distributed.rank() != 0:
            self.place.report(metrics, None)
            return
        with self.place.saving() as folder:
            self.state.save(folder)
            release_tables(self.model)
            self.place.report(metrics, folder)

    def _training_losses(self, losses: dict[str, float]) -> dict[str, float]:
        """Losses by metric name. `train/loss` is of the tasks alone, as `validation/loss` is."""
        tasks = {task: losses[task] for task in self.tasks}
        return {
            "train/loss": self._total(tasks),
            **{f"train/{task}/loss": loss for task, loss in tasks.items()},
            **{f"train/{name}": loss for name, loss in losses.items() if name not in tasks},
        }

    def _task_weights(self) -> dict[str, float]:
        """What the weighting multiplied each task's loss by in the last step."""
        return {f"train/{task}/weight": weight for task, weight in self.state.weighting.by_task().items()}

    def _balance(self) -> dict[str, float]:
        """What was seen of the tasks' gradients since the last such record, and the steps left out so far."""
        values = self.step.balance.values()
        self.step.balance.reset()
        skipped = {f"balance/{task}/skipped": float(n) for task, n in self.step.skipped.by_task.items() if n}
        return {f"train/{name}": value for name, value in {**values, **skipped}.items()}

    def _total(self, losses: dict[str, float]) -> float:
        """Sum weighted by the config's task weights, whatever the weighting, so that epochs compare; a task without any
        observed row adds nothing, as in the gradient."""
        weights = {name: task.weight for name, task in self.config.tasks.items()}
        return sum(weights[name] * loss for name, loss in losses.items() if loss == loss)

    def _post(self, record: dict[str, Any]) -> None:
        if distributed.rank() == 0:
            self.place.post(record)
