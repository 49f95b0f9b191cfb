"""Everything that changes while training, in one place, so that a checkpoint cannot forget a part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from mtl_ray.aggregation import Aggregation, AggregationContext
from mtl_ray.checkpoint import Checkpoint, ModelContext, TrainingPosition, save_checkpoint
from mtl_ray.config import Config
from mtl_ray.errors import CheckpointError
from mtl_ray.models import MultiTaskModel
from mtl_ray.optim import WeightAverage, build_optimizer, build_schedule
from mtl_ray.schema import LabelStatistics
from mtl_ray.training.affinity import AffinityRecord
from mtl_ray.training.frozen import freeze
from mtl_ray.weighting import Weighting, WeightingContext


@dataclass
class TrainingState:
    """Model, optimizer, schedule, weighting, aggregation and position of a run, and the average of its weights."""

    config: Config
    context: ModelContext
    model: MultiTaskModel
    optimizer: Optimizer
    schedule: LRScheduler
    weighting: Weighting
    aggregation: Aggregation | None
    """None: the plain sum."""
    position: TrainingPosition
    epoch_totals: Tensor
    """Loss sums and weights over all ranks of the epoch's batches up to the last checkpoint that was written or read:
    `LossTotals.gather_on_first`."""
    affinity: AffinityRecord
    average: WeightAverage | None = None
    """None: the weights of the last step are used."""

    @classmethod
    def create(cls, config: Config, context: ModelContext, model: MultiTaskModel, total_steps: int) -> TrainingState:
        """The state before the first step of a training of `total_steps`. Freezes what the config says, and raises
        ConfigError as `freeze` does."""
        freeze(model, config.training.frozen)
        device = next(model.parameters()).device
        weighting = config.weighting.build(weighting_context(config, context.label_statistics)).to(device)
        aggregation = config.aggregation.build(AggregationContext(model.task_names, config.seed))
        optimizer = build_optimizer(
            config.training.optimizer, model, list(weighting.parameters()), weighting.learning_rate
        )
        return cls(
            config=config,
            context=context,
            model=model,
            optimizer=optimizer,
            schedule=build_schedule(config.training.schedule, optimizer, total_steps),
            weighting=weighting,
            aggregation=None if aggregation is None else aggregation.to(device),
            position=TrainingPosition(epoch=1, batch=0, step=0),
            epoch_totals=torch.zeros(2, len(config.tasks) + len(model.auxiliary_names), dtype=torch.float64),
            affinity=AffinityRecord(len(config.tasks), config.training.affinity_every),
            average=None if config.training.averaging is None else config.training.averaging.build(model),
        )

    @property
    def served(self) -> MultiTaskModel:
        """What is validated, saved and served: the model, or that of the averaged weights."""
        return self.model if self.average is None else cast(MultiTaskModel, self.average.model)

    @property
    def learning_rate(self) -> float:
        """The first parameter group's current learning rate."""
        return float(self.optimizer.param_groups[0]["lr"])

    def advance(self, batch: int) -> int:
        """Note that global batch `batch` (1-based) of the epoch is done, and take the weights into their average;
        returns the number of steps so far."""
        self.position = self.position.model_copy(update={"batch": batch, "step": self.position.step + 1})
        if self.average is not None:
            self.average.after_step(self.position.step, self.model)
        return self.position.step

    def end_epoch(self, value: float, better: bool) -> None:
        """Move to the next epoch, and note whether `value` of the early-stopping metric was the best so far."""
        position = self.position
        update: dict[str, Any] = {"epoch": position.epoch + 1, "batch": 0}
        if better:
            update |= {"best": value, "best_epoch": position.epoch, "epochs_without_better": 0}
        else:
            update["epochs_without_better"] = position.epochs_without_better + 1
        self.position = position.model_copy(update=update)

    def save(self, folder: Path) -> None:
        """Write a checkpoint into `folder`."""
        training = {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "weighting": self.weighting.state_dict(),
            "aggregation": {} if self.aggregation is None else self.aggregation.state_dict(),
            "epoch_totals": self.epoch_totals.cpu(),
            "affinity": self.affinity.state_dict(),
        }
        if self.average is not None:
            training |= {"average": self.average.state_dict(), "weights": self.model.state_dict()}
        save_checkpoint(folder, self.config, self.context, self.served.state_dict(), training, self.position)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`, by the learning rates and decays of this state's own config where that says others.

        Raises CheckpointError where it belongs to another training set.
        """
        if checkpoint.context.training_set != self.context.training_set:
            raise CheckpointError(
                "The checkpoint was trained on another training set.",
                where=str(checkpoint.path),
                found=checkpoint.context.training_set,
                allowed=self.context.training_set,
            )
        training = checkpoint.training_state()
        self.served.load_state_dict(checkpoint.weights)
        if self.average is not None:
            self.average.load_state_dict(training["average"])
            self.model.load_state_dict(training["weights"])
        own = [(group["initial_lr"], group["weight_decay"]) for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(training["optimizer"])
        self.schedule.load_state_dict(training["schedule"])
        if checkpoint.config.training.optimizer != self.config.training.optimizer:
            self._set_rates(own)
        self.weighting.load_state_dict(training["weighting"])
        if self.aggregation is not None:
            self.aggregation.load_state_dict(training["aggregation"])
        self.epoch_totals = training["epoch_totals"]
        if "affinity" in training:  # checkpoints of before have none
            self.affinity.load_state_dict(training["affinity"])
        self.position = checkpoint.position

    def _set_rates(self, own: Sequence[tuple[float, float]]) -> None:
        """Base learning rate and decay of each parameter group, instead of those that a checkpoint brought."""
        factors = [factor(self.schedule.last_epoch) for factor in cast(LambdaLR, self.schedule).lr_lambdas]
        for group, factor, (rate, decay) in zip(self.optimizer.param_groups, factors, own, strict=True):
            group.update(initial_lr=rate, lr=rate * factor, weight_decay=decay)
        self.schedule.base_lrs = [rate for rate, _ in own]


def weighting_context(config: Config, statistics: Mapping[str, LabelStatistics]) -> WeightingContext:
    """What the weighting of `config` is built from; `statistics` of the training part's labels by task."""
    return WeightingContext(
        task_weights={name: task.weight for name, task in config.tasks.items()},
        statistics=statistics,
        types={name: task.model_dump()["type"] for name, task in config.tasks.items()},
        seed=config.seed,
    )
