"""The weighted sum."""

from __future__ import annotations

import pytest
import torch

from mtl_ray.weighting import StaticWeightingConfig


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_total_and_gradient_are_those_of_the_weighted_sum(dtype: torch.dtype) -> None:
    weighting = StaticWeightingConfig().build({"click": 0.1, "cart": 0.0, "value": 2.0})
    losses = torch.tensor([3.0, 5.0, 0.25], dtype=dtype, requires_grad=True)
    total = weighting(losses, losses.detach(), torch.ones(3, dtype=torch.bool))
    total.backward()
    assert total.shape == ()
    torch.testing.assert_close(total, torch.tensor(0.8, dtype=dtype))
    torch.testing.assert_close(losses.grad, torch.tensor([0.1, 0.0, 2.0], dtype=dtype))
    assert weighting.by_task() == {"click": 0.1, "cart": 0.0, "value": 2.0}


def test_there_is_nothing_to_learn_or_to_store() -> None:
    weighting = StaticWeightingConfig().build({"click": 1.0})
    assert list(weighting.parameters()) == []
    assert weighting.state_dict() == {}
