"""A few steps of one model under every weighting and aggregation, from a rank's rows of one global batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import torch
from torch import Tensor

from mtl_ray.aggregation import (
    AggregationConfig,
    AggregationContext,
    AggregationSettings,
    GradDropConfig,
    MetaBalanceConfig,
    Place,
    UPGradConfig,
)
from mtl_ray.batch import Batch
from mtl_ray.models import MultiTaskModel
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing.mmoe import MMoEConfig
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import (
    FAMOWeightingConfig,
    GeometricMeanWeightingConfig,
    GradNormWeightingConfig,
    ScheduleWeightingConfig,
    StaticWeightingConfig,
    Weighting,
    WeightingConfig,
    WeightingContext,
)
from mtl_ray.weighting.settings import WeightingSettings
from tests.random_batch import part_of
from tests.unit.models.task_sets import PLAIN, TaskSet

ROWS = 36
STEPS = 5
RATE = 0.05
WEIGHTINGS: tuple[type[WeightingSettings], ...] = get_args(get_args(WeightingConfig)[0])
AGGREGATIONS: tuple[type[AggregationSettings], ...] = get_args(get_args(AggregationConfig)[0])
MODEL = MMoEConfig(num_experts=3, expert=(6,), tower=(4,))
OPTIONS: dict[type[WeightingSettings], dict[str, Any]] = {
    # The first, third and fifth step look at gradients, the others do not.
    GradNormWeightingConfig: {"every": 2},
    ScheduleWeightingConfig: {"factors": {PLAIN.schema.tasks[0]: {0: 1.0, 4: 3.0}}, "between": "linear"},
}
SHARES = {1: (36,), 2: (25, 11), 3: (7, 19, 10)}
"""Ranks -> rows of each."""


@dataclass(frozen=True)
class Balance:
    """One way to balance tasks."""

    weighting: WeightingSettings = field(default_factory=StaticWeightingConfig)
    aggregation: AggregationSettings | None = None
    on: Place = "representation"
    parts: int = 1
    """`training.accumulate`."""

    @property
    def name(self) -> str:
        parts = [str(self.weighting.model_dump()["name"])]
        if getattr(self.weighting, "compare_on", None) == "same_batch":
            parts.append("same_batch")
        if self.aggregation is not None:
            parts.append(str(self.aggregation.model_dump()["name"]))
        return "+".join([*parts, self.on, *([f"{self.parts} parts"] if self.parts > 1 else [])])


def all_balances() -> list[Balance]:
    """Every member of both unions, where tasks are compared at both places."""
    found = []
    for member in WEIGHTINGS:
        places: tuple[Place, ...] = ("representation", "shared") if member.needs_norms else ("representation",)
        found += [Balance(member(**OPTIONS.get(member, {})), None, place) for place in places]
    found.append(Balance(FAMOWeightingConfig(compare_on="same_batch")))
    for aggregation in AGGREGATIONS:
        if aggregation.model_fields["name"].default != "sum":
            found += [Balance(aggregation=aggregation(), on=place) for place in get_args(Place)]
    return [*found, *in_parts()]


def in_parts() -> list[Balance]:
    """Steps in several parts: the plain sum, and what looks at losses, norms and gradients before it differentiates."""
    weightings = (StaticWeightingConfig(), GeometricMeanWeightingConfig(), FAMOWeightingConfig(compare_on="same_batch"))
    found = [Balance(weighting, parts=3) for weighting in weightings]
    found += [Balance(GradNormWeightingConfig(every=2), on=place, parts=3) for place in get_args(Place)]
    for aggregation in (UPGradConfig(), GradDropConfig(), MetaBalanceConfig()):
        found += [Balance(aggregation=aggregation, on=place, parts=3) for place in get_args(Place)]
    return found


def global_batch(step: int, tasks: TaskSet = PLAIN) -> Batch:
    """Nothing of the second task is observed in the first 20 rows, and in step 3 nothing of the third anywhere."""
    batch = tasks.batch(ROWS, seed=step, dtype=torch.float64)
    observed = batch.observed.clone()
    observed[:20, 1] = False
    if step == 3:
        observed[:, 2] = False
    return replace(batch, observed=observed, labels=torch.where(observed, batch.labels, 0.0))


def share(batch: Batch, rank: int, ranks: int) -> Batch:
    begin = sum(SHARES[ranks][:rank])
    return part_of(batch, slice(begin, begin + SHARES[ranks][rank]))


def build(model: ModelSettings = MODEL, tasks: TaskSet = PLAIN) -> MultiTaskModel:
    """With gates and heads away from their even start."""
    torch.manual_seed(0)
    built = model.build(tasks.schema, tasks.tasks()).double()
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if not name.startswith("encoders."):
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return built


def train_step(
    balance: Balance, model: MultiTaskModel, tasks: TaskSet = PLAIN, clip_norm: float | None = None
) -> tuple[TrainStep, Weighting, Any]:
    """A step of plain gradient descent, so that the parameters move by the gradients."""
    context = WeightingContext(dict.fromkeys(tasks.schema.tasks, 0.5), seed=3)
    weighting = balance.weighting.build(context)
    aggregation = None
    if balance.aggregation is not None:
        aggregation = balance.aggregation.build(AggregationContext(tasks.schema.tasks, seed=3))
    parameters = [*model.parameters(), *weighting.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=RATE)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    step = TrainStep(
        model,
        tasks.tasks(),
        weighting,
        optimizer,
        schedule,
        clip_norm,
        "fp64",
        torch.device("cpu"),
        aggregation,
        balance.on,
        accumulate=balance.parts,
    )
    return step, weighting, aggregation


def trained(balance: Balance, rank: int, ranks: int, sparse: bool = False) -> dict[str, Tensor]:
    """Parameters and state after a few steps; `sparse`: with gradients of the tables' shown rows alone."""
    model = build()
    for table in model.embedding_tables():
        table.sparse = sparse
    step, weighting, aggregation = train_step(balance, model, clip_norm=5.0)
    for number in range(STEPS):
        step(share(global_batch(number), rank, ranks))
    state = {**model.state_dict(), **{f"weighting.{name}": value for name, value in weighting.state_dict().items()}}
    if aggregation is not None:
        state |= {f"aggregation.{name}": value for name, value in aggregation.state_dict().items()}
    return {name: value.clone() for name, value in state.items()}


def gradients_of(model: MultiTaskModel, before: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a step of `train_step` took as gradients."""
    return {name: (before[name] - parameter.detach()) / RATE for name, parameter in model.named_parameters()}


def named(parameters: Sequence[Tensor], model: MultiTaskModel) -> list[str]:
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return [known[id(parameter)] for parameter in parameters]
