"""Dynamic weight average against a computation by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mtl_ray.weighting import DWAWeightingConfig, StepLosses, Weighting, WeightingContext

NAN = float("nan")


def by_task(weighting: Weighting) -> dict[str, float]:
    """What the next step's losses are multiplied by, whatever they are."""
    number = len(weighting.tasks)
    weighting(StepLosses(torch.ones(number, dtype=torch.float64), torch.ones(number, dtype=torch.bool)))
    return weighting.by_task()


def test_weights_follow_the_last_two_epochs() -> None:
    weighting = DWAWeightingConfig().build(WeightingContext({"click": 1.0, "cart": 1.0, "value": 0.5}))
    assert by_task(weighting) == pytest.approx({"click": 1.0, "cart": 1.0, "value": 0.5})
    weighting.end_epoch({"click": 0.5, "cart": 0.4, "value": 2.0})
    assert by_task(weighting) == pytest.approx({"click": 1.0, "cart": 1.0, "value": 0.5})
    weighting.end_epoch({"click": 0.4, "cart": 0.4, "value": 1.0})
    scores = [math.exp(0.8 / 2), math.exp(1.0 / 2), math.exp(0.5 / 2)]
    found = by_task(weighting)
    expected = [3 * score / sum(scores) for score in scores]
    assert list(found.values()) == pytest.approx([expected[0], expected[1], 0.5 * expected[2]], abs=1e-14)
    assert found["click"] + found["cart"] + 2 * found["value"] == pytest.approx(3.0, abs=1e-14)
    weighting.end_epoch({"click": 0.3, "cart": 0.5, "value": 1.0})
    scores = [math.exp(0.75 / 2), math.exp(1.25 / 2), math.exp(1.0 / 2)]
    assert by_task(weighting)["cart"] == pytest.approx(3 * scores[1] / sum(scores), abs=1e-14)


@pytest.mark.parametrize(("before", "last"), [(NAN, 0.5), (0.5, NAN), (0.0, 0.5), (0.5, 0.0), (-1.0, 0.5)])
def test_a_ratio_that_is_none_counts_as_one(before: float, last: float) -> None:
    weighting = DWAWeightingConfig(temperature=1.0).build(WeightingContext({"click": 1.0, "rare": 1.0}))
    weighting.end_epoch({"click": 1.0, "rare": before})
    weighting.end_epoch({"click": 0.5, "rare": last})
    scores = [math.exp(0.5), math.exp(1.0)]
    assert list(by_task(weighting).values()) == pytest.approx([2 * score / sum(scores) for score in scores])


def test_a_loss_that_jumps_does_not_overflow() -> None:
    weighting = DWAWeightingConfig().build(WeightingContext({"click": 1.0, "value": 1.0}))
    weighting.end_epoch({"click": 1.0, "value": 1e-6})
    weighting.end_epoch({"click": 1.0, "value": 1e6})
    assert list(by_task(weighting).values()) == pytest.approx([0.0, 2.0])
