"""What every weighting of the union keeps to; a new member is tested without being listed here."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from mtl_ray.schema import LabelStatistics
from mtl_ray.weighting import StepLosses, Weighting, WeightingConfig, WeightingContext

MEMBERS: tuple[Any, ...] = get_args(get_args(WeightingConfig)[0])
CONTEXT = WeightingContext(
    {"click": 0.5, "cart": 0.0, "value": 2.0},
    {
        "click": LabelStatistics(observed=100, mean=0.2),
        "cart": LabelStatistics(observed=100, mean=0.01),
        "value": LabelStatistics(observed=100, mean=3.0),
    },
    {"click": "binary", "cart": "binary", "value": "regression"},
    seed=7,
)
NORMS = torch.tensor([0.3, 2.0, 0.0], dtype=torch.float64)
every_member = pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)


def losses(step: int, value_observed: bool = True) -> StepLosses:
    values = torch.tensor([3.0 / (1 + step), 5.0, 0.25], dtype=torch.float64)
    observed = torch.tensor([True, True, value_observed])
    return StepLosses(torch.where(observed, values, 0.0), observed)


def take(weighting: Weighting, step: int, value_observed: bool = True, known: bool = True) -> Tensor:
    """One step, the parameters' one by plain descent; returns the weights. Not `known`: losses that are no numbers."""
    seen = losses(step, value_observed)
    if not known:
        seen = seen._replace(values=torch.full_like(seen.values, torch.nan))
    weights = weighting(seen).clone()
    objective = weighting.objective(seen, NORMS if weighting.needs_norms else None)
    if objective is not None:
        weighting.zero_grad()
        objective.backward()
        with torch.no_grad():
            for parameter in weighting.parameters():
                assert parameter.grad is not None
                parameter -= 0.01 * parameter.grad
    weighting.end_step(seen)
    if weighting.wants_losses_after:
        weighting.losses_after(losses(step + 1, value_observed))
    return weights


@every_member
def test_weights_are_finite_not_negative_and_told_by_task(member: Any) -> None:
    weighting = member().build(CONTEXT)
    assert weighting.by_task() == CONTEXT.task_weights
    for step in range(5):
        weights = take(weighting, step, value_observed=step != 2)
        assert weights.shape == (3,)
        assert weights.dtype == torch.float64
        assert not weights.requires_grad
        assert torch.isfinite(weights).all()
        assert (weights >= 0).all()
        assert weights[1] == 0.0  # its config says 0
        assert weighting.by_task() == dict(zip(weighting.tasks, weights.tolist(), strict=True))


@every_member
def test_parameters_have_an_entry_a_task_and_rest_where_it_is_not_observed(member: Any) -> None:
    weighting = member().build(CONTEXT)
    seen = losses(0, value_observed=False)
    weighting(seen)
    objective = weighting.objective(seen, NORMS)
    assert (objective is None) == (not list(weighting.parameters()))
    if objective is not None:
        objective.backward()
    for parameter in weighting.parameters():
        assert parameter.shape == (3,)
        assert parameter.grad is not None
        assert parameter.grad[2] == 0.0


@every_member
def test_a_restored_weighting_goes_on_as_the_first_would_have(member: Any) -> None:
    weighting, other = member().build(CONTEXT), member().build(CONTEXT)
    for step in range(3):
        take(weighting, step)
        weighting.end_epoch({"click": 1.0 / (1 + step), "cart": 1.0, "value": 2.0})
    other.load_state_dict({name: value.clone() for name, value in weighting.state_dict().items()})
    for step in range(3, 6):
        assert torch.equal(take(weighting, step), take(other, step))


@every_member
def test_the_config_survives_json(member: Any) -> None:
    assert member.model_validate_json(member().model_dump_json()) == member()


@pytest.mark.parametrize(
    "member", [member for member in MEMBERS if not member().build(CONTEXT).reads_losses], ids=lambda m: m.__name__
)
def test_what_says_that_it_reads_no_loss_reads_none(member: Any) -> None:
    seeing, blind = member().build(CONTEXT), member().build(CONTEXT)
    for step in range(4):
        assert torch.equal(take(seeing, step), take(blind, step, known=False))
    torch.testing.assert_close(blind.state_dict(), seeing.state_dict(), rtol=0, atol=0, equal_nan=True)
