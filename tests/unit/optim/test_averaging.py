"""The average of the weights is that of a loop over the steps, and it is what is saved and predicted with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mtl_ray.optim import AveragingConfig
from tests.unit.models.cases import Case, each_once


def random_walk(model: nn.Module, steps: int) -> list[dict[str, Tensor]]:
    """What the model holds after each of `steps`; it ends with the last."""
    random = torch.Generator().manual_seed(0)
    states = []
    for number in range(steps):
        with torch.no_grad():
            for value in model.state_dict().values():
                if value.is_floating_point():
                    value.add_(torch.randn(value.shape, generator=random, dtype=value.dtype))
                else:
                    value.fill_(number)
        states.append({name: value.clone() for name, value in model.state_dict().items()})
    return states


def by_the_loop(values: list[Tensor], decay: float, every: int) -> Tensor:
    taken = values[every - 1 :: every]
    average = taken[0]
    for n, value in enumerate(taken[1:], start=1):
        kept = min(decay**every, (1 + n) / (10 + n))
        average = kept * average + (1 - kept) * value
    return average


@pytest.mark.parametrize(("decay", "every", "steps"), [(0.9, 1, 120), (0.5, 1, 7), (0.9, 3, 100), (0.99, 4, 4)])
def test_average_of_a_loop(decay: float, every: int, steps: int) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    average = AveragingConfig(decay=decay, every=every).build(model)
    states = []
    for number in range(1, steps + 1):
        states += random_walk(model, 1)
        average.after_step(number, model)
    for name, value in average.model.state_dict().items():
        values = [state[name] for state in states]
        if value.is_floating_point():
            torch.testing.assert_close(value, by_the_loop(values, decay, every), rtol=0, atol=1e-12)
        else:
            assert value == values[len(values) // every * every - 1]


def test_what_stays_the_same_stays_exactly_the_same() -> None:
    model = nn.Linear(3, 2)
    average = AveragingConfig().build(model)
    for number in range(1, 50):
        average.after_step(number, model)
    assert torch.equal(average.model.state_dict()["weight"], model.weight)


@each_once
def test_every_architecture_has_a_copy_of_its_own(case: Case) -> None:
    model = case.build().eval()
    average = AveragingConfig().build(model)
    average.model.eval()
    batch = case.set.batch(9)
    before = {name: logits.detach().clone() for name, logits in model(batch).items()}
    random_walk(model, 1)
    after = average.model(batch)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    average.after_step(1, model)
    moved, now = model(batch), average.model(batch)
    assert all(torch.equal(now[name].nan_to_num(), moved[name].nan_to_num()) for name in before)
    assert any(not torch.equal(now[name], before[name]) for name in before)


@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5])
def test_decays_that_are_none_are_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        AveragingConfig(decay=decay)
