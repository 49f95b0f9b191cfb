"""Loss weightings against TorchJD's scalarizers and the papers' formulas, losses given by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torchjd.scalarization as jd
from torch import Tensor

from mtl_ray.errors import ConfigError
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, RegressionTaskConfig
from mtl_ray.tasks.value import ValueTaskConfig
from mtl_ray.weighting import (
    FAMOWeightingConfig,
    GeometricMeanWeightingConfig,
    GradNormWeightingConfig,
    IMTLLWeightingConfig,
    InverseRateWeightingConfig,
    RandomWeightingConfig,
    ScheduleWeightingConfig,
    STCHWeightingConfig,
    StepLosses,
    WeightingContext,
)

TOLERANCE = 1e-12
EQUAL = WeightingContext({"a": 1.0, "b": 1.0, "c": 1.0}, seed=5)
VALUES = torch.tensor([0.7, 0.02, 3.0], dtype=torch.float64)
ALL = torch.ones(3, dtype=torch.bool)


def seen(values: Tensor = VALUES, observed: Tensor = ALL) -> StepLosses:
    return StepLosses(torch.where(observed, values, 0.0), observed)


def slope(scalarizer: Callable[[Tensor], Tensor], values: Tensor = VALUES) -> Tensor:
    """Gradient of the scalarized losses by each loss, `[T]`: what a weighted sum has as weights."""
    values = values.clone().requires_grad_()
    (found,) = torch.autograd.grad(scalarizer(values), values)
    return found


def test_geometric_mean_is_torchjds() -> None:
    weighting = GeometricMeanWeightingConfig().build(EQUAL)
    torch.testing.assert_close(weighting(seen()), slope(jd.GeometricMean()), rtol=0, atol=TOLERANCE)


def test_geometric_mean_leaves_out_what_is_not_observed_and_takes_weights_as_exponents() -> None:
    weighting = GeometricMeanWeightingConfig().build(WeightingContext({"a": 1.0, "b": 5.0, "c": 3.0}))
    observed = torch.tensor([True, False, True])
    expected = slope(lambda x: x[0] ** 0.25 * x[2] ** 0.75)
    torch.testing.assert_close(weighting(seen(observed=observed)), expected, rtol=0, atol=TOLERANCE)


def test_imtl_l_is_torchjds() -> None:
    scales = torch.tensor([0.3, -0.4, 0.1], dtype=torch.float64)
    theirs, weighting = jd.IMTLL(3).double(), IMTLLWeightingConfig().build(EQUAL)
    with torch.no_grad():
        theirs.log_scale.copy_(scales)
        weighting.log_scales.copy_(scales)
    torch.testing.assert_close(weighting(seen()), slope(theirs), rtol=0, atol=TOLERANCE)
    theirs(VALUES).backward()
    objective = weighting.objective(seen(), None)
    objective.backward()
    torch.testing.assert_close(weighting.log_scales.grad, theirs.log_scale.grad, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("mu", [0.1, 1.0, 5.0])
def test_stch_is_the_papers_formula(mu: float) -> None:
    weighting = STCHWeightingConfig(mu=mu, relative=False, ideal=0.01).build(EQUAL)
    expected = slope(lambda x: mu * torch.logsumexp((x - 0.01) / mu, dim=0))
    torch.testing.assert_close(weighting(seen()), expected, rtol=0, atol=TOLERANCE)


def test_relative_stch_measures_losses_by_the_first_that_were_observed() -> None:
    weighting = STCHWeightingConfig().build(EQUAL)
    weighting(seen(observed=torch.tensor([True, True, False])))
    later = torch.tensor([0.35, 0.03, 2.0], dtype=torch.float64)
    weighting(seen(torch.tensor([0.6, 0.02, 4.0], dtype=torch.float64)))
    first = torch.tensor([0.7, 0.02, 4.0], dtype=torch.float64)
    expected = slope(lambda x: torch.logsumexp(x / first, dim=0), later)
    torch.testing.assert_close(weighting(seen(later)), expected, rtol=0, atol=TOLERANCE)


def test_famo_on_the_same_batch_is_torchjds() -> None:
    theirs = jd.FAMO(3, lr=0.025, weight_decay=1e-3).double()
    weighting = FAMOWeightingConfig(compare_on="same_batch").build(EQUAL)
    before = VALUES
    for step in range(6):
        expected = slope(theirs, before)
        torch.testing.assert_close(weighting(seen(before)), expected, rtol=0, atol=1e-7)  # theirs adds 1e-8 to losses
        theirs(before)
        after = before * torch.tensor([0.9, 1.02, 0.7 + 0.05 * step], dtype=torch.float64)
        theirs.update(after)
        weighting.losses_after(seen(after))
        before = after * 1.1
    assert weighting.logits.abs().min() > 0.01


def test_famo_on_the_next_batch_learns_from_the_difference_of_two_steps() -> None:
    same = FAMOWeightingConfig(compare_on="same_batch").build(EQUAL)
    following = FAMOWeightingConfig().build(EQUAL)
    values = [VALUES * factor for factor in (1.0, 0.9, 0.85)]
    for now, after in pairwise(values):
        same(seen(now))
        same.losses_after(seen(after))
        following(seen(now))
    following(seen(values[-1]))
    torch.testing.assert_close(following.logits, same.logits, rtol=0, atol=TOLERANCE)


def test_random_weights_are_drawn_anew_and_one_on_average() -> None:
    weighting = RandomWeightingConfig().build(EQUAL)
    drawn = []
    for _ in range(4000):
        drawn.append(weighting(seen()).clone())
        weighting.end_step(seen())
    weights = torch.stack(drawn)
    torch.testing.assert_close(weights.sum(dim=1), torch.full((4000,), 3.0, dtype=torch.float64))
    assert len(set(weights[:, 0].tolist())) == 4000
    assert (weights.mean(dim=0) - 1.0).abs().max() < 0.05


def test_gradnorm_is_algorithm_1() -> None:
    context = WeightingContext({"a": 1.0, "b": 2.0, "c": 1.0})
    weighting = GradNormWeightingConfig(alpha=1.5).build(context)
    norms = torch.tensor([0.5, 0.1, 2.0], dtype=torch.float64)
    weighting(seen())
    now = torch.tensor([0.35, 0.018, 1.0], dtype=torch.float64)
    with torch.no_grad():
        weighting.factors.copy_(torch.tensor([0.8, 1.5, 0.7], dtype=torch.float64))
    assert weighting(seen(now)).tolist() == pytest.approx([0.8, 3.0, 0.7])
    objective = weighting.objective(seen(now), norms)
    lengths = [0.8 * 0.5, 2.0 * 1.5 * 0.1, 0.7 * 2.0]
    ratios = [0.35 / 0.7, 0.018 / 0.02, 1.0 / 3.0]
    rates = [ratio / (sum(ratios) / 3) for ratio in ratios]
    targets = [sum(lengths) / 3 * rate**1.5 for rate in rates]
    gaps = [length - target for length, target in zip(lengths, targets, strict=True)]
    assert float(objective.detach()) == pytest.approx(sum(abs(gap) for gap in gaps), abs=TOLERANCE)
    objective.backward()
    slopes = [math.copysign(1.0, gap) * scale for gap, scale in zip(gaps, [0.5, 0.2, 2.0], strict=True)]
    assert weighting.factors.grad.tolist() == pytest.approx(slopes, abs=TOLERANCE)
    weighting.end_step(seen(now))
    assert weighting.factors.detach().tolist() == pytest.approx([0.8, 1.5, 0.7])  # sums to 3 already
    with torch.no_grad():
        weighting.factors.copy_(torch.tensor([-1.0, 1.0, 2.0], dtype=torch.float64))
    weighting.end_step(seen(now))
    assert float(weighting.factors.detach().sum()) == pytest.approx(3.0)
    assert (weighting.factors > 0).all()


def test_gradnorm_learns_in_every_nth_step_alone() -> None:
    weighting = GradNormWeightingConfig(every=3).build(EQUAL)
    wanted = []
    for _ in range(7):
        wanted.append(weighting.wants_norms)
        weighting(seen())
        objective = weighting.objective(seen(), VALUES if weighting.wants_norms else None)
        assert (objective is not None) == weighting.wants_norms
        weighting.end_step(seen())
    assert wanted == [True, False, False, True, False, False, True]


@pytest.mark.parametrize(
    ("between", "expected"), [("constant", [0.5, 0.5, 2.0, 2.0]), ("linear", [0.5, 1.25, 2.0, 2.0])]
)
def test_a_schedule_is_piecewise(between: Any, expected: list[float]) -> None:
    config = ScheduleWeightingConfig(factors={"b": {1: 0.5, 3: 2.0}}, between=between)
    weighting = config.build(WeightingContext({"a": 3.0, "b": 1.0}))
    losses = StepLosses(VALUES[:2], ALL[:2])
    found = []
    for _ in range(5):
        found.append(weighting(losses).tolist())
        weighting.end_step(losses)
    assert [a for a, _ in found] == [3.0] * 5
    assert [b for _, b in found] == [0.5, *expected]


def test_a_schedule_of_an_unknown_task_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        ScheduleWeightingConfig(factors={"clik": {0: 1.0}}).check_tasks({"click": BinaryTaskConfig()})
    assert caught.value.where == "weighting.factors.clik"
    assert "click" in str(caught.value.fix)


def test_inverse_rates_have_a_mean_of_one_over_the_binary_tasks() -> None:
    context = WeightingContext(
        {"a": 1.0, "b": 1.0, "c": 1.0},
        {
            "a": LabelStatistics(observed=100, mean=0.25),
            "b": LabelStatistics(observed=100, mean=0.01),
            "c": LabelStatistics(observed=100, mean=9.0),
        },
        {"a": "binary", "b": "binary", "c": "regression"},
    )
    weights = InverseRateWeightingConfig().build(context)(seen()).tolist()
    assert weights == pytest.approx([2 / 6, 10 / 6, 1.0])


@pytest.mark.parametrize("config", [GeometricMeanWeightingConfig(), FAMOWeightingConfig()])
@pytest.mark.parametrize("task", [ValueTaskConfig(), RegressionTaskConfig(loss="poisson")])
def test_logarithms_of_losses_that_may_be_negative_are_refused(config: Any, task: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        config.check_tasks({"click": BinaryTaskConfig(), "amount": task})
    assert "amount" in str(caught.value)
    config.check_tasks({"click": BinaryTaskConfig(), "amount": RegressionTaskConfig()})
