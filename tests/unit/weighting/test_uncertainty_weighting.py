"""Uncertainty weighting against its closed form, and that it ends where the closed form has its minimum."""

from __future__ import annotations

import math

import pytest
import torch

from mtl_ray.weighting import StepLosses, UncertaintyWeightingConfig, WeightingContext

WEIGHTS = {"click": 1.0, "cart": 0.5, "value": 2.0}
S = [0.7, -1.2, 0.1]


def test_weights_and_gradients_are_those_of_the_closed_form() -> None:
    weighting = UncertaintyWeightingConfig().build(WeightingContext(WEIGHTS))
    with torch.no_grad():
        weighting.log_variances.copy_(torch.tensor(S, dtype=torch.float64))
    # Nothing of value is observed.
    losses = StepLosses(torch.tensor([0.6, 2.0, 0.0], dtype=torch.float64), torch.tensor([True, True, False]))
    expected = [w * 0.5 * math.exp(-s) for w, s in zip(WEIGHTS.values(), S, strict=True)]
    assert weighting(losses).tolist() == pytest.approx(expected, abs=1e-14)
    objective = weighting.objective(losses, None)
    expected_value = sum(
        w * (0.5 * math.exp(-s) * loss + math.log(1 + math.exp(s)))
        for w, s, loss in [(1.0, 0.7, 0.6), (0.5, -1.2, 2.0)]
    )
    assert float(objective) == pytest.approx(expected_value, abs=1e-14)
    objective.backward()
    assert weighting.log_variances.grad is not None
    wanted = [
        w * (-0.5 * math.exp(-s) * loss + 1 / (1 + math.exp(-s))) for w, s, loss in [(1.0, 0.7, 0.6), (0.5, -1.2, 2.0)]
    ]
    assert weighting.log_variances.grad.tolist() == pytest.approx([*wanted, 0.0], abs=1e-14)


def test_the_forms_of_kendall_et_al() -> None:
    context = WeightingContext(WEIGHTS, types={"click": "binary", "cart": "binary", "value": "regression"})
    weighting = UncertaintyWeightingConfig(form="by_type", regulariser="log").build(context)
    with torch.no_grad():
        weighting.log_variances.copy_(torch.tensor(S, dtype=torch.float64))
    losses = StepLosses(torch.tensor([0.6, 2.0, 3.0], dtype=torch.float64), torch.ones(3, dtype=torch.bool))
    assert weighting(losses).tolist() == pytest.approx(
        [math.exp(-0.7), 0.5 * math.exp(1.2), 2.0 * 0.5 * math.exp(-0.1)], abs=1e-14
    )
    expected = (
        math.exp(-0.7) * 0.6 + 0.35 + 0.5 * (math.exp(1.2) * 2.0 - 0.6) + 2.0 * (0.5 * math.exp(-0.1) * 3.0 + 0.05)
    )
    assert float(weighting.objective(losses, None)) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("task_weight", [1.0, 3.0])
def test_it_settles_where_the_loss_says_whatever_the_task_weight(task_weight: float) -> None:
    weighting = UncertaintyWeightingConfig().build(WeightingContext({"large": task_weight, "small": task_weight}))
    losses = torch.tensor([8.0, 0.05], dtype=torch.float64)
    # exp(-s) L / 2 = 1 / (1 + exp(-s)):  with v = exp(s), 2 v^2 - L v - L = 0.
    variance = (losses + (losses.square() + 8 * losses).sqrt()) / 4
    slopes = []
    for offset in (-0.5, 0.0, 0.5):
        with torch.no_grad():
            weighting.log_variances.copy_(variance.log() + offset)
        weighting.zero_grad()
        weighting.objective(StepLosses(losses, torch.ones(2, dtype=torch.bool)), None).backward()
        assert weighting.log_variances.grad is not None
        slopes.append(weighting.log_variances.grad.clone())
    assert (slopes[0] < 0).all()
    assert (slopes[2] > 0).all()
    torch.testing.assert_close(slopes[1], torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-14)


def test_a_learning_rate_of_its_own() -> None:
    context = WeightingContext(WEIGHTS)
    assert UncertaintyWeightingConfig().build(context).learning_rate is None
    assert UncertaintyWeightingConfig(learning_rate=0.1).build(context).learning_rate == 0.1
    with pytest.raises(ValueError, match="greater than 0"):
        UncertaintyWeightingConfig(learning_rate=0.0)
