"""The config's weights, as they are."""

from __future__ import annotations

import torch

from mtl_ray.weighting import StaticWeightingConfig, StepLosses, WeightingContext


def test_weights_are_the_configs() -> None:
    weighting = StaticWeightingConfig().build(WeightingContext({"click": 0.1, "cart": 0.0, "value": 2.0}))
    losses = StepLosses(torch.tensor([3.0, 5.0, 0.0], dtype=torch.float64), torch.tensor([True, True, False]))
    assert weighting(losses).tolist() == [0.1, 0.0, 2.0]
    assert weighting.by_task() == {"click": 0.1, "cart": 0.0, "value": 2.0}
    assert weighting.objective(losses, None) is None


def test_there_is_nothing_to_learn_or_to_store() -> None:
    weighting = StaticWeightingConfig().build(WeightingContext({"click": 1.0}))
    assert list(weighting.parameters()) == []
    assert weighting.state_dict() == {}
