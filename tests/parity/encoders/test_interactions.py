"""Interactions against loops over pairs of fields, layers and heads, in float64 to 1e-10."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from mtl_ray.models.encoders.interactions import (
    DCNv2Config,
    DLRMDotConfig,
    FinalMLPConfig,
    FMConfig,
    InteractionSettings,
    NoInteractionConfig,
)
from mtl_ray.models.encoders.layout import FieldLayout
from tests.parity.sharing.loops import linear, mlp
from tests.unit.models.encoder_cases import factors

LAYOUT = FieldLayout(("user_id", "item_id", "tabs", "price"), 3, 2)
ROWS = 7


def fields(x: Tensor) -> list[Tensor]:
    return [x[3 * field : 3 * field + 3] for field in range(4)]


def assert_equal(config: InteractionSettings, reference: Callable[[nn.Module, Tensor], Tensor]) -> nn.Module:
    """Values and gradients of all parameters are those of `reference` for each row."""
    module = config.build(LAYOUT).double()
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=torch.float64) / 3)
    x = torch.randn(ROWS, LAYOUT.size, generator=random, dtype=torch.float64)
    found, wanted = module(x), torch.stack([reference(module, row) for row in x])
    assert found.shape == (ROWS, module.out_size)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    parameters = list(module.parameters())
    if parameters:
        grads = torch.autograd.grad((found * factors(found)).sum(), parameters)
        for mine, theirs in zip(grads, torch.autograd.grad((wanted * factors(wanted)).sum(), parameters), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)
    return module


def test_none() -> None:
    assert_equal(NoInteractionConfig(), lambda _, x: x)


def test_fm() -> None:
    def reference(_: nn.Module, x: Tensor) -> Tensor:
        total = torch.zeros(3, dtype=torch.float64)
        for v, w in combinations(fields(x), 2):
            total = total + v * w
        return torch.cat([x, total])

    assert_equal(FMConfig(), reference)


def test_dlrm_dot() -> None:
    def reference(_: nn.Module, x: Tensor) -> Tensor:
        return torch.cat([x, torch.stack([(v * w).sum() for v, w in combinations(fields(x), 2)])])

    assert_equal(DLRMDotConfig(), reference)


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("layers", [1, 3])
def test_dcn_v2(layers: int, rank: int | None) -> None:
    def reference(module: nn.Module, x: Tensor) -> Tensor:
        crossed = x
        for layer in range(layers):
            cross = module.cross[layer]
            weight = cross.weight if rank is None else cross.weight @ module.down[layer].weight
            crossed = x * linear(crossed, weight, cross.bias) + crossed
        return crossed

    assert_equal(DCNv2Config(layers=layers, rank=rank), reference)


@pytest.mark.parametrize("heads", [1, 2])
def test_final_mlp(heads: int) -> None:
    config = FinalMLPConfig(
        first=(7, 6), second=(5, 4), heads=heads, first_context=("item_id", "price"), second_context=(), gate=3
    )

    def gate(scores: Tensor) -> Tensor:
        return torch.stack([2 / (1 + torch.exp(-score)) for score in scores])

    def streams(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        context = torch.cat([fields(x)[1], fields(x)[3]])
        first, second = module.first_gate, module.second_gate
        scores = linear(mlp(first.hidden, context), first.out.weight, first.out.bias)
        return mlp(module.first, x * gate(scores)), mlp(module.second, x * gate(second.gate))

    def reference(module: nn.Module, x: Tensor) -> Tensor:
        first, second = streams(module, x)
        fused = []
        for head in range(heads):
            o1, o2 = first.chunk(heads)[head], second.chunk(heads)[head]
            fused.append(linear(o1, module.fusion[head].T) * o2)
        return torch.cat([first, second, *fused])

    module = assert_equal(config, reference)
    # The paper's logit is a weighted sum of that vector: w1 . o1 + w2 . o2 + sum over heads of o1^T W o2.
    x = torch.randn(LAYOUT.size, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    w1, w2 = torch.randn(6, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    first, second = streams(module, x)
    logit = w1 @ first + w2 @ second
    for head in range(heads):
        logit = logit + first.chunk(heads)[head] @ module.fusion[head] @ second.chunk(heads)[head]
    weights = torch.cat([w1, w2, torch.ones(4, dtype=torch.float64)])
    torch.testing.assert_close(module(x.unsqueeze(0))[0] @ weights, logit, rtol=0, atol=1e-10)
