"""However the rows are spread over ranks, losses and gradients are those of the whole batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mtl_ray.batch import Batch
from mtl_ray.models import MultiTaskModel
from mtl_ray.models.sharing import MMoEConfig
from mtl_ray.tasks.losses import normalise, task_losses
from mtl_ray.weighting import StaticWeightingConfig, StepLosses, WeightingContext
from tests.random_batch import SCHEMA, make_tasks, part_of, random_batch

ROWS = 30
WEIGHTS = {"click": 1.0, "rating": 0.5, "value": 2.0}
SPLITS = {
    "2 ranks": [slice(0, 4), slice(4, ROWS)],
    "3 ranks": [slice(0, 4), slice(4, 5), slice(5, ROWS)],
}


def build() -> MultiTaskModel:
    torch.manual_seed(0)
    return MMoEConfig(num_experts=3, expert=(8, 4), tower=(4,)).build(SCHEMA, make_tasks()).double()


def batch_without_rating_on_the_first_rank() -> Batch:
    batch = random_batch(ROWS, seed=1, dtype=torch.float64)
    observed = batch.observed.clone()
    observed[:4, 1] = False
    return replace(batch, observed=observed, labels=torch.where(observed, batch.labels, 0.0))


def gradients(model: MultiTaskModel, total: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def on_ranks(model: MultiTaskModel, parts: list[Batch], naive: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses `[T]` and gradients averaged over ranks, as DistributedDataParallel does."""
    tasks = make_tasks()
    weighting = StaticWeightingConfig().build(WeightingContext(WEIGHTS))
    local = [task_losses(model(part), part, tasks) for part in parts]
    global_weights = torch.stack([part.weights for part in local]).sum(dim=0)
    losses, grads = [], []
    for sums, weights, _ in local:
        if naive:
            loss = normalise(sums, weights, world_size=1)
        else:
            loss = normalise(sums, global_weights, world_size=len(parts))
        losses.append(loss.detach())
        weights = weighting(StepLosses(loss.detach(), loss.detach() != 0))
        grads.append(gradients(model, torch.dot(loss, weights)))
    mean = {name: torch.stack([grad[name] for grad in grads]).mean(dim=0) for name in grads[0]}
    return torch.stack(losses).mean(dim=0), mean


@pytest.mark.parametrize("split", list(SPLITS))
def test_ranks_together_equal_one_process(split: str) -> None:
    batch = batch_without_rating_on_the_first_rank()
    model = build()
    losses, grads = on_ranks(model, [batch])
    found_losses, found_grads = on_ranks(model, [part_of(batch, rows) for rows in SPLITS[split]])
    torch.testing.assert_close(found_losses, losses, rtol=0, atol=1e-12)
    assert found_grads.keys() == grads.keys() == dict(model.named_parameters()).keys()
    for name, grad in grads.items():
        torch.testing.assert_close(found_grads[name], grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("split", list(SPLITS))
def test_the_mean_of_rank_means_is_something_else(split: str) -> None:
    batch = batch_without_rating_on_the_first_rank()
    model = build()
    losses, grads = on_ranks(model, [batch])
    naive_losses, naive_grads = on_ranks(model, [part_of(batch, rows) for rows in SPLITS[split]], naive=True)
    assert ((naive_losses - losses).abs() > 0.01).any()
    name = "sharing.experts.weights.0"
    assert (naive_grads[name] - grads[name]).abs().max() > 0.01 * grads[name].abs().max()


def test_one_process_equals_the_weighted_mean_written_out() -> None:
    batch = batch_without_rating_on_the_first_rank()
    tasks, model = make_tasks(), build()
    logits = model(batch)
    sums, weights, _ = task_losses(logits, batch, tasks)
    losses = normalise(sums, weights, world_size=1)
    for column, (name, task) in enumerate(tasks.items()):
        total, weight = 0.0, 0.0
        for row in range(ROWS):
            if batch.observed[row, column]:
                row_loss = task.loss(logits[name][row : row + 1], batch.labels[row : row + 1, column])
                total += float(batch.sample_weight[row]) * float(row_loss.detach().sum())
                weight += float(batch.sample_weight[row])
        assert float(sums[column].detach()) == pytest.approx(total, abs=1e-12)
        assert float(weights[column]) == pytest.approx(weight, abs=1e-12)
        assert float(losses[column].detach()) == pytest.approx(total / weight, abs=1e-12)


def test_rows_that_are_not_observed_count_nowhere() -> None:
    batch = batch_without_rating_on_the_first_rank()
    model = build()
    padding = random_batch(7, seed=9, dtype=torch.float64)
    padding = replace(padding, observed=torch.zeros_like(padding.observed), row_id=torch.full_like(padding.row_id, -1))
    losses, grads = on_ranks(model, [batch])
    padded_losses, padded_grads = on_ranks(model, [joined(batch, padding)])
    torch.testing.assert_close(padded_losses, losses, rtol=0, atol=1e-14)
    for name, grad in grads.items():
        torch.testing.assert_close(padded_grads[name], grad, rtol=0, atol=1e-14)


def test_a_rank_of_padding_alone_changes_nothing() -> None:
    batch = batch_without_rating_on_the_first_rank()
    model = build()
    nothing = replace(part_of(batch, slice(0, 3)), observed=torch.zeros(3, 3, dtype=torch.bool))
    losses, grads = on_ranks(model, [batch])
    found_losses, found_grads = on_ranks(model, [batch, nothing])
    torch.testing.assert_close(found_losses, losses, rtol=0, atol=1e-14)
    for name, grad in grads.items():
        torch.testing.assert_close(found_grads[name], grad, rtol=0, atol=1e-14)


@pytest.mark.parametrize("how", ["no label", "no weight"])
def test_without_any_label_a_task_adds_exactly_nothing(how: str) -> None:
    batch = batch_without_rating_on_the_first_rank()
    observed = batch.observed.clone()
    observed[:, 2] = False
    if how == "no label":
        batch = replace(batch, observed=observed)
    else:
        batch = replace(batch, observed=~observed, sample_weight=torch.zeros(ROWS, dtype=torch.float64))
    model = build()
    losses, grads = on_ranks(model, [part_of(batch, rows) for rows in SPLITS["2 ranks"]])
    assert losses[2] == 0.0
    for name, parameter in model.named_parameters():
        if any(parameter is own for own in model.task_parameters("value")):
            assert torch.count_nonzero(grads[name]) == 0
        assert torch.isfinite(grads[name]).all()
    assert bool(torch.count_nonzero(losses)) == (how == "no label")


def test_weights_carry_no_gradient() -> None:
    batch = batch_without_rating_on_the_first_rank()
    sums, weights, _ = task_losses(build()(batch), batch, make_tasks())
    assert sums.requires_grad
    assert not weights.requires_grad
    assert weights.dtype == sums.dtype == torch.float64


def joined(first: Batch, second: Batch) -> Batch:
    """The rows of both."""
    return Batch(
        categorical=torch.cat([first.categorical, second.categorical]),
        numeric=torch.cat([first.numeric, second.numeric]),
        labels=torch.cat([first.labels, second.labels]),
        observed=torch.cat([first.observed, second.observed]),
        sample_weight=torch.cat([first.sample_weight, second.sample_weight]),
        row_id=torch.cat([first.row_id, second.row_id]),
        lists={name: torch.cat([ids, second.lists[name]]) for name, ids in first.lists.items()},
    )
