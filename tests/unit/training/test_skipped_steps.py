"""A step in which a task's gradient is not finite is left out, counted by task, and at last ends the training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mtl_ray.aggregation import GradDropConfig, PCGradConfig, Place
from mtl_ray.aggregation.aggregation import AggregationSettings
from mtl_ray.batch import Batch
from mtl_ray.errors import DivergedError
from tests.parity.balancing.balanced_steps import Balance, build, global_batch, train_step
from tests.unit.models.task_sets import PLAIN


def spoilt(batch: Batch) -> Batch:
    """With an infinite label of the third task."""
    labels = batch.labels.clone()
    row = int(batch.observed[:, 2].nonzero()[0, 0])
    labels[row, 2] = torch.inf
    return replace(batch, labels=labels)


@pytest.mark.parametrize("on", ["representation", "shared"])
@pytest.mark.parametrize("parts", [1, 3])
def test_the_step_is_left_out_and_the_task_is_named(on: Place, parts: int) -> None:
    model = build()
    step, _, aggregation = train_step(Balance(aggregation=PCGradConfig(), on=on, parts=parts), model)
    step(global_batch(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    counted = int(aggregation.step)
    totals = step.totals.gather_on_first().clone()
    step(spoilt(global_batch(1)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert step.skipped.by_task == {**dict.fromkeys(PLAIN.schema.tasks, 0), PLAIN.schema.tasks[2]: 1}
    assert int(aggregation.step) == counted
    assert torch.equal(step.totals.gather_on_first(), totals)
    step(global_batch(2))
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_too_many_in_a_row_end_the_training() -> None:
    step, _, _ = train_step(Balance(aggregation=PCGradConfig()), build())
    step.skipped._most = 2
    for _ in range(2):
        step(spoilt(global_batch(0)))
    step(global_batch(1))  # one that is taken begins the count anew
    for _ in range(2):
        step(spoilt(global_batch(0)))
    with pytest.raises(DivergedError) as caught:
        step(spoilt(global_batch(0)))
    assert PLAIN.schema.tasks[2] in str(caught.value)
    assert "2 steps before" in str(caught.value)


@pytest.mark.parametrize("config", [PCGradConfig(), GradDropConfig()], ids=lambda config: config.name)
def test_a_gradient_alone_that_is_not_finite_names_its_task(config: AggregationSettings) -> None:
    model = build()
    step, _, _ = train_step(Balance(aggregation=config), model)
    tower = model.towers[f"task_{PLAIN.schema.tasks[1]}"]

    def spoil(_module: torch.nn.Module, inputs: tuple[Tensor]) -> None:
        # The other tasks' passes bring no gradient here.
        inputs[0].register_hook(lambda gradient: None if gradient is None else torch.full_like(gradient, torch.nan))

    handle = tower.register_forward_pre_hook(spoil)
    step(global_batch(0))
    handle.remove()
    assert step.skipped.by_task[PLAIN.schema.tasks[1]] == 1
    assert sum(step.skipped.by_task.values()) == 1
