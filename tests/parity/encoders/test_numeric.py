"""Encoders of numbers, and vectors, against loops over columns and edges, in float64 to 1e-10."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mtl_ray.models.encoders.numeric import BucketisedConfig, NumericSettings, PiecewiseLinearConfig, PLRConfig
from mtl_ray.models.encoders.vectors import VectorConfig
from tests.parity.sharing.loops import linear, normalised
from tests.unit.models.encoder_cases import factors

DIM, ROWS = 3, 40
QUANTILES = (
    tuple(step / 4 for step in range(17)),
    (0.0,) * 12 + (1.0, 2.0, 4.0, 8.0, 16.0),
    (-2.0,) * 5 + (3.0,) * 12,
    (0.5,) * 17,
)
"""Spread evenly, with many zeros, of two values, constant; all exact in float32."""


def columns() -> Tensor:
    """Numbers between, on and beyond the quantiles, float64 `[ROWS, 4]`."""
    random = torch.Generator().manual_seed(5)
    x = torch.rand(ROWS, len(QUANTILES), generator=random, dtype=torch.float64) * 8 - 3
    x[:17] = torch.tensor(QUANTILES, dtype=torch.float64).T
    return x


def randomised(module: nn.Module) -> nn.Module:
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=torch.float64) / 3)
    return module


def assert_equal(config: NumericSettings, reference: Callable[[nn.Module, int, float], Tensor]) -> None:
    """`reference` gives the embedding of one number of one column."""
    module = randomised(config.build(len(QUANTILES), QUANTILES, DIM, 0.01).double())
    x = columns()
    found = module(x)
    wanted = torch.stack([torch.stack([reference(module, n, float(v)) for n, v in enumerate(row)]) for row in x])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    parameters = list(module.parameters())
    grads = torch.autograd.grad((found * factors(found)).sum(), parameters)
    for mine, theirs in zip(grads, torch.autograd.grad((wanted * factors(wanted)).sum(), parameters), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def at_ranks(quantiles: Sequence[float], parts: int) -> list[float]:
    """numpy's quantiles of the quantiles, as float32 numbers."""
    return [float(np.float32(np.quantile(quantiles, part / parts))) for part in range(parts + 1)]


@pytest.mark.parametrize("buckets", [2, 5, 8])
def test_bucketised(buckets: int) -> None:
    edges = [
        sorted({edge for edge in at_ranks(quantiles, buckets)[1:-1] if edge > quantiles[0]}) for quantiles in QUANTILES
    ]
    firsts = [sum(len(column) + 1 for column in edges[:n]) for n in range(len(edges))]

    def reference(module: nn.Module, n: int, x: float) -> Tensor:
        bucket = 0
        for edge in edges[n]:
            bucket += x >= edge
        table: Tensor = module.table
        return table[firsts[n] + bucket]

    assert_equal(BucketisedConfig(buckets=buckets), reference)


def test_buckets_hold_about_equally_many_training_rows() -> None:
    values = np.random.default_rng(0).lognormal(size=100_000)
    quantiles = np.quantile(values, np.linspace(0, 1, 257)).astype(np.float32)
    module = BucketisedConfig(buckets=8).build(1, [quantiles.tolist()], DIM, 0.01)
    with torch.no_grad():
        module.table.copy_(torch.arange(8.0).unsqueeze(1).expand(8, DIM))
    bucket = module(torch.tensor(values, dtype=torch.float32).unsqueeze(1))[:, 0, 0].long()
    assert bucket.bincount(minlength=8).float().sub(12_500).abs().max() < 100


@pytest.mark.parametrize("bins", [1, 4, 7])
def test_piecewise_linear(bins: int) -> None:
    """Equation 1 of Gorishniy et al., with its cases written out."""

    def reference(module: nn.Module, n: int, x: float) -> Tensor:
        edges = sorted(set(at_ranks(QUANTILES[n], bins)))
        if len(edges) == 1:
            edges = [edges[0], edges[0] + 1.0]
        last = len(edges) - 1
        total: Tensor = module.bias[n * DIM : (n + 1) * DIM]
        for t in range(1, last + 1):
            if x < edges[t - 1] and t > 1:
                e = 0.0
            elif x >= edges[t] and t < last:
                e = 1.0
            else:
                e = (x - edges[t - 1]) / (edges[t] - edges[t - 1])
            total = total + e * module.weight[n, t - 1]
        return total

    assert_equal(PiecewiseLinearConfig(bins=bins), reference)


def test_plr() -> None:
    def reference(module: nn.Module, n: int, x: float) -> Tensor:
        angles = [2 * math.pi * module.frequencies[n * 5 + k] * x for k in range(5)]
        periodic = torch.stack([*(torch.sin(a) for a in angles), *(torch.cos(a) for a in angles)])
        units = linear(periodic, module.weight[n].T, module.bias[n * DIM : (n + 1) * DIM])
        return torch.stack([unit if unit > 0 else unit * 0 for unit in units])

    assert_equal(PLRConfig(frequencies=5), reference)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("projection", [False, True])
def test_vectors(projection: bool, layer_norm: bool) -> None:
    module = randomised(VectorConfig(projection=projection, layer_norm=layer_norm).build(5, DIM).double())
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for row, found in zip(x, module(x), strict=True):
        expected = normalised(row, module.norm.weight, module.norm.bias) if layer_norm else row
        if projection:
            expected = linear(expected, module.projection.weight, module.projection.bias)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
