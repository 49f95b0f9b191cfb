"""Both ways through the experts: one after the other on the CPU, all at once elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mtl_ray.models.experts import Experts


def at_once(experts: Experts, x: Tensor) -> Tensor:
    for layer in range(len(experts.weights)):
        x = experts.layer(layer, x)
    return x


@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7)], ids=["one input", "an input each"])
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_one_after_the_other_is_all_at_once(shape: tuple[int, ...], activation: str) -> None:
    torch.manual_seed(0)
    experts = Experts(3, 7, (6, 4), activation).double()  # type: ignore[arg-type]
    for bias in experts.biases:
        torch.nn.init.normal_(bias)
    found = []
    for way in (experts, lambda x: at_once(experts, x)):
        x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
        output = way(x)
        gradients = torch.autograd.grad((output * torch.arange(1.0, 5.0)).sum(), [x, *experts.parameters()])
        found.append((output, *gradients))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_bf16_leaves_the_products_of_one_expert_to_bf16() -> None:
    torch.manual_seed(0)
    experts = Experts(3, 7, (6, 4))
    x = torch.randn(5, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = experts(x)
    assert output.dtype is torch.bfloat16
    torch.testing.assert_close(output.float(), experts(x), rtol=0.05, atol=0.05)
