"""Affinity can be measured in every architecture in which tasks share something, and moves nothing in any."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mtl_ray.batch import Batch
from mtl_ray.models import MultiTaskModel
from mtl_ray.optim import OptimizerConfig, build_optimizer
from mtl_ray.tasks import Task
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import StaticWeightingConfig, WeightingContext
from tests.unit.models.cases import MEMBERS, Case, kinds_of, name_of
from tests.unit.models.next_item_set import with_next_item
from tests.unit.models.task_sets import PLAIN, task_sets_of

SHARING = [member for member in MEMBERS if member.shares]
CASES = {
    f"{name_of(member.model_construct())}-{number}": Case(member.model_validate(kind), task_sets_of(member())[-1])
    for member in SHARING
    for number, kind in enumerate(kinds_of(member)[1:3])
}


def stepped(model: MultiTaskModel, tasks: dict[str, Task], batch: Batch, measure: bool) -> torch.Tensor | None:
    optimizer = build_optimizer(OptimizerConfig(learning_rate=1e-4), model)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    weighting = StaticWeightingConfig().build(WeightingContext(dict.fromkeys(tasks, 1.0)))
    step = TrainStep(model, tasks, weighting, optimizer, schedule, 1.0, "fp64", torch.device("cpu"))
    torch.manual_seed(1)  # some draw while they train
    return step(batch, measure)


def check(build: Callable[[], MultiTaskModel], tasks: dict[str, Task], batch: Batch) -> None:
    measured, plain = build(), build()
    found = stepped(measured, tasks, batch, measure=True)
    assert stepped(plain, tasks, batch, measure=False) is None
    for name, value in plain.state_dict().items():
        assert torch.equal(measured.state_dict()[name], value), name
    assert found is not None
    assert found.isfinite().all()
    # A small step along its own gradient lowers a task's loss.
    assert float(found.diagonal().min()) > 0


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_measured_and_nothing_moves(case: Case) -> None:
    check(lambda: case.build().double(), case.set.tasks(), case.set.batch(40, dtype=torch.float64))


def test_a_next_item_task_shares_its_tables() -> None:
    tasks = with_next_item(PLAIN)
    config = SHARING[0]()

    def build() -> MultiTaskModel:
        torch.manual_seed(0)
        return config.build(tasks.schema, tasks.tasks()).double()

    check(build, tasks.tasks(), tasks.batch(40, dtype=torch.float64))
