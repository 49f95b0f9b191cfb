"""What every weighting of the union keeps to; a new member is tested without being listed here."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from mtl_ray.weighting import WeightingConfig

MEMBERS: tuple[Any, ...] = get_args(get_args(WeightingConfig)[0])
WEIGHTS = {"click": 0.5, "cart": 0.0, "value": 2.0}
every_member = pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)


@every_member
def test_the_total_weighs_each_rank_s_losses_as_it_says(member: Any) -> None:
    weighting = member().build(WEIGHTS)
    ranks = torch.tensor([[3.0, 5.0, 0.25], [1.0, 2.0, 0.5]], dtype=torch.float64, requires_grad=True)
    observed = torch.ones(3, dtype=torch.bool)
    for losses in ranks:
        weighting(losses, ranks.detach().mean(dim=0), observed).backward()
    torch.testing.assert_close(ranks.grad, weighting.weights().expand(2, 3))
    assert weighting.by_task() == dict(zip(WEIGHTS, weighting.weights().tolist(), strict=True))
    assert weighting.by_task()["cart"] == 0.0


@every_member
def test_parameters_have_an_entry_a_task_and_learn_from_global_losses_alone(member: Any) -> None:
    weighting = member().build(WEIGHTS)
    whole = torch.tensor([3.0, 5.0, 0.25], dtype=torch.float64)
    observed = torch.tensor([True, True, False])
    found = []
    for losses in (torch.zeros(3, dtype=torch.float64), torch.tensor([6.0, 1.0, 0.0], dtype=torch.float64)):
        weighting.zero_grad()
        weighting(losses.requires_grad_(), whole, observed).backward()
        found.append([parameter.grad.clone() for parameter in weighting.parameters()])
    for first, second in zip(*found, strict=True):
        assert first.shape == (3,)
        assert torch.equal(first, second)
        assert first[2] == 0.0


@every_member
def test_state_dict_round_trip(member: Any) -> None:
    weighting, other = member().build(WEIGHTS), member().build(WEIGHTS)
    for epoch in range(3):
        weighting.end_epoch({"click": 1.0 / (1 + epoch), "cart": 1.0, "value": 2.0})
    with torch.no_grad():
        for parameter in weighting.parameters():
            parameter.normal_()
    other.load_state_dict(weighting.state_dict())
    assert torch.equal(other.weights(), weighting.weights())


@every_member
def test_the_config_survives_json(member: Any) -> None:
    assert member.model_validate_json(member().model_dump_json()) == member()
