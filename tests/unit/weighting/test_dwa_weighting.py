"""Dynamic weight average against a computation by hand."""

from __future__ import annotations

import math

import pytest

from mtl_ray.weighting import DWAWeightingConfig

NAN = float("nan")


def test_weights_follow_the_last_two_epochs() -> None:
    weighting = DWAWeightingConfig().build({"click": 1.0, "cart": 1.0, "value": 0.5})
    assert weighting.by_task() == pytest.approx({"click": 1.0, "cart": 1.0, "value": 0.5})
    weighting.end_epoch({"click": 0.5, "cart": 0.4, "value": 2.0})
    assert weighting.by_task() == pytest.approx({"click": 1.0, "cart": 1.0, "value": 0.5})
    weighting.end_epoch({"click": 0.4, "cart": 0.4, "value": 1.0})
    scores = [math.exp(0.8 / 2), math.exp(1.0 / 2), math.exp(0.5 / 2)]
    found = weighting.by_task()
    expected = [3 * score / sum(scores) for score in scores]
    assert list(found.values()) == pytest.approx([expected[0], expected[1], 0.5 * expected[2]], abs=1e-14)
    assert found["click"] + found["cart"] + 2 * found["value"] == pytest.approx(3.0, abs=1e-14)
    weighting.end_epoch({"click": 0.3, "cart": 0.5, "value": 1.0})
    scores = [math.exp(0.75 / 2), math.exp(1.25 / 2), math.exp(1.0 / 2)]
    assert weighting.by_task()["cart"] == pytest.approx(3 * scores[1] / sum(scores), abs=1e-14)


@pytest.mark.parametrize(("before", "last"), [(NAN, 0.5), (0.5, NAN), (0.0, 0.5), (0.5, 0.0), (-1.0, 0.5)])
def test_a_ratio_that_is_none_counts_as_one(before: float, last: float) -> None:
    weighting = DWAWeightingConfig(temperature=1.0).build({"click": 1.0, "rare": 1.0})
    weighting.end_epoch({"click": 1.0, "rare": before})
    weighting.end_epoch({"click": 0.5, "rare": last})
    scores = [math.exp(0.5), math.exp(1.0)]
    assert list(weighting.by_task().values()) == pytest.approx([2 * score / sum(scores) for score in scores])


def test_a_loss_that_jumps_does_not_overflow() -> None:
    weighting = DWAWeightingConfig().build({"click": 1.0, "value": 1.0})
    weighting.end_epoch({"click": 1.0, "value": 1e-6})
    weighting.end_epoch({"click": 1.0, "value": 1e6})
    assert list(weighting.by_task().values()) == pytest.approx([0.0, 2.0])
