"""Uncertainty weighting against its closed form, and that it ends where the closed form has its minimum."""

from __future__ import annotations

import math

import pytest
import torch

from mtl_ray.weighting import UncertaintyWeightingConfig

WEIGHTS = {"click": 1.0, "cart": 0.5, "value": 2.0}
S = [0.7, -1.2, 0.1]


def test_value_and_gradients_are_those_of_the_closed_form() -> None:
    weighting = UncertaintyWeightingConfig().build(WEIGHTS)
    with torch.no_grad():
        weighting.log_variances.copy_(torch.tensor(S, dtype=torch.float64))
    # Two ranks, whose mean is the global loss; nothing of value is observed.
    ranks = torch.tensor([[0.3, 0.0, 0.0], [0.9, 4.0, 0.0]], dtype=torch.float64, requires_grad=True)
    whole, observed = ranks.detach().mean(dim=0), torch.tensor([True, True, False])
    totals = [weighting(losses, whole, observed) for losses in ranks]
    expected = sum(
        w * (0.5 * math.exp(-s) * loss + math.log(1 + math.exp(s)))
        for w, s, loss in [(1.0, 0.7, 0.6), (0.5, -1.2, 2.0)]
    )
    assert float(torch.stack(totals).mean()) == pytest.approx(expected, abs=1e-14)
    for total in totals:
        weighting.zero_grad()
        total.backward()
        grad = weighting.log_variances.grad
        assert grad is not None
        wanted = [
            w * (-0.5 * math.exp(-s) * loss + 1 / (1 + math.exp(-s)))
            for w, s, loss in [(1.0, 0.7, 0.6), (0.5, -1.2, 2.0)]
        ]
        assert grad.tolist() == pytest.approx([*wanted, 0.0], abs=1e-14)
    assert ranks.grad is not None
    for grad in ranks.grad:
        expected_grad = [w * 0.5 * math.exp(-s) for w, s in zip(WEIGHTS.values(), S, strict=True)]
        assert grad.tolist() == pytest.approx(expected_grad, abs=1e-14)


@pytest.mark.parametrize("task_weight", [1.0, 3.0])
def test_it_settles_where_the_loss_says_whatever_the_task_weight(task_weight: float) -> None:
    weighting = UncertaintyWeightingConfig().build({"large": task_weight, "small": task_weight})
    losses = torch.tensor([8.0, 0.05], dtype=torch.float64)
    # exp(-s) L / 2 = 1 / (1 + exp(-s)):  with v = exp(s), 2 v^2 - L v - L = 0.
    variance = (losses + (losses.square() + 8 * losses).sqrt()) / 4
    observed = torch.ones(2, dtype=torch.bool)
    slopes = []
    for offset in (-0.5, 0.0, 0.5):
        with torch.no_grad():
            weighting.log_variances.copy_(variance.log() + offset)
        weighting.zero_grad()
        weighting(losses, losses, observed).backward()
        assert weighting.log_variances.grad is not None
        slopes.append(weighting.log_variances.grad.clone())
    assert (slopes[0] < 0).all()
    assert (slopes[2] > 0).all()
    torch.testing.assert_close(slopes[1], torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-14)


def test_a_learning_rate_of_its_own() -> None:
    assert UncertaintyWeightingConfig().build(WEIGHTS).learning_rate is None
    assert UncertaintyWeightingConfig(learning_rate=0.1).build(WEIGHTS).learning_rate == 0.1
    with pytest.raises(ValueError, match="greater than 0"):
        UncertaintyWeightingConfig(learning_rate=0.0)
