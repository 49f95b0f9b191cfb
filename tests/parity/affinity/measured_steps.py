"""Measured training steps of a rank, and what a plain loop finds on the global batch."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mtl_ray.aggregation import AggregationContext, Place, UPGradConfig
from mtl_ray.batch import Batch
from mtl_ray.models import MultiTaskModel
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing.mmoe import MMoEConfig
from mtl_ray.models.sharing.shared_bottom import SharedBottomConfig
from mtl_ray.optim import OptimizerConfig, build_optimizer
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import StaticWeightingConfig, WeightingContext
from tests.parity.balancing.balanced_steps import MODEL, build, global_batch, share
from tests.unit.models.task_sets import PLAIN

STEPS = 4
WEIGHTS = dict(zip(PLAIN.schema.tasks, (0.5, 2.0, 0.1), strict=True))
RATE = 0.05
ADAM = OptimizerConfig(learning_rate=0.03, embedding_learning_rate=0.1, weight_decay=0.1, betas=(0.9, 0.95))


@dataclass(frozen=True)
class Case:
    """One way to train."""

    name: str
    optimizer: str
    model: ModelSettings = MODEL
    parts: int = 1
    aggregate_on: Place | None = None
    clip_norm: float | None = None


CASES = (
    Case("sgd", "sgd"),
    Case("sgd, clipped", "sgd", clip_norm=0.1),
    Case("adamw", "adamw"),
    Case("adamw, clipped", "adamw", clip_norm=0.1),
    Case("adamw, in parts", "adamw", parts=3),
    Case("adamw, aggregated", "adamw", aggregate_on="representation"),
    Case("adamw, aggregated over what is shared, in parts", "adamw", parts=3, aggregate_on="shared"),
    Case("adamw, batch norm", "adamw", MMoEConfig(num_experts=3, expert=(6,), tower=(4,), norm="batch")),
    Case("adamw, shared bottom", "adamw", SharedBottomConfig(bottom=(6,), tower=(4,))),
)


class Training:
    """A few steps of one case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.model = build(case.model)
        self.optimizer: torch.optim.Optimizer
        if case.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE)
        else:
            self.optimizer = build_optimizer(ADAM, self.model)
        aggregation = None
        if case.aggregate_on is not None:
            aggregation = UPGradConfig().build(AggregationContext(PLAIN.schema.tasks))
        self.step = TrainStep(
            self.model,
            PLAIN.tasks(),
            StaticWeightingConfig().build(WeightingContext(WEIGHTS)),
            self.optimizer,
            torch.optim.lr_scheduler.ConstantLR(self.optimizer, 1.0),
            case.clip_norm,
            "fp64",
            torch.device("cpu"),
            aggregation,
            case.aggregate_on or "representation",
            accumulate=case.parts,
        )


def measured(case: Case, rank: int, ranks: int) -> Tensor:
    """Affinity of each step, `[STEPS, T, T]`."""
    training = Training(case)
    found = [training.step(share(global_batch(number), rank, ranks), measure=True) for number in range(STEPS)]
    return torch.stack([affinity for affinity in found if affinity is not None])


def by_loop(case: Case) -> Tensor:
    """The same by copies of the model on the whole batch, one task and one parameter after the other."""
    training = Training(case)
    return torch.stack([_step_by_loop(training, global_batch(number)) for number in range(STEPS)])


def _step_by_loop(training: Training, batch: Batch) -> Tensor:
    before = copy.deepcopy(training.model)
    training.step(batch)
    factor = _clipping(before, batch, training.case.clip_norm)
    tasks = PLAIN.schema.tasks
    affinity = torch.full((len(tasks), len(tasks)), torch.nan, dtype=torch.float64)
    for i in range(len(tasks)):
        if not batch.observed[:, i].any():
            continue
        moved = copy.deepcopy(before)
        shared = moved.shared_parameters()
        gradients = torch.autograd.grad(_loss(moved, batch, i), shared, allow_unused=True)
        known = {id(parameter): name for name, parameter in moved.named_parameters()}
        trained = dict(training.model.named_parameters())
        with torch.no_grad():
            for parameter, gradient in zip(shared, gradients, strict=True):
                if gradient is not None:
                    part = gradient * WEIGHTS[tasks[i]] * factor
                    parameter -= _scaled(part, training.optimizer, trained[known[id(parameter)]])
        for j in range(len(tasks)):
            if batch.observed[:, j].any():
                old, new = (_loss(copy.deepcopy(model), batch, j) for model in (before, moved))
                affinity[i, j] = 1.0 - float(new.detach()) / float(old.detach())
    return affinity


def _scaled(gradient: Tensor, optimizer: torch.optim.Optimizer, parameter: Tensor) -> Tensor:
    """What the step that the optimizer has just taken makes of a gradient."""
    group = next(group for group in optimizer.param_groups if any(own is parameter for own in group["params"]))
    if "betas" not in group:
        return RATE * gradient
    state: dict[str, Any] = optimizer.state[parameter]
    moment = state["exp_avg_sq"] / (1.0 - group["betas"][1] ** float(state["step"]))
    rate = ADAM.embedding_learning_rate if group["name"] == "embeddings" else ADAM.learning_rate
    assert rate is not None
    return rate * gradient / (moment.sqrt() + ADAM.eps)


def _clipping(model: MultiTaskModel, batch: Batch, clip_norm: float | None) -> float:
    if clip_norm is None:
        return 1.0
    model = copy.deepcopy(model)
    observed = [at for at in range(len(WEIGHTS)) if batch.observed[:, at].any()]
    total: Tensor = sum(WEIGHTS[PLAIN.schema.tasks[at]] * _loss(model, batch, at) for at in observed)  # type: ignore[assignment]
    gradients = torch.autograd.grad(total, list(model.parameters()), allow_unused=True)
    length = float(torch.cat([gradient.flatten() for gradient in gradients if gradient is not None]).norm())
    return min(1.0, clip_norm / (length + 1e-6))


def _loss(model: MultiTaskModel, batch: Batch, column: int) -> Tensor:
    """Mean over the observed rows by their weight."""
    name = PLAIN.schema.tasks[column]
    logits = model(batch)[name]
    losses = PLAIN.tasks()[name].loss(logits, batch.labels[:, column], batch.task_inputs)
    total, weight = logits.new_zeros(()), 0.0
    for row in range(len(batch)):
        if batch.observed[row, column]:
            total = total + batch.sample_weight[row] * losses[row]
            weight += float(batch.sample_weight[row])
    return total / weight
