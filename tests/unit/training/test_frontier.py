"""One pass from the frontier of several passes gives the leaves what these passes themselves would."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mtl_ray.training.backward.frontier import frontier

FACTORS = (2.0, 0.5)
Graph = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], list[Tensor]]


def two_tasks(x: Tensor, w: Tensor, v: Tensor) -> list[Tensor]:
    hidden = (x @ w).relu() @ v
    return [hidden[:, 0].sum(), hidden[:, 1].square().sum()]


def first_layer(x: Tensor, y: Tensor, w: Tensor, v: Tensor, u: Tensor) -> list[Tensor]:
    """A product with a parameter, below it none."""
    return two_tasks(torch.cat([x, 2.0 * y], dim=1)[:, 1:4] + 0.0 * u.sum(), w, v)


def two_layers_side_by_side(x: Tensor, y: Tensor, w: Tensor, v: Tensor, u: Tensor) -> list[Tensor]:
    first = two_tasks(x, w, v)
    return [first[0] + (y @ u).tanh().sum(), first[1]]


def attention(x: Tensor, y: Tensor, w: Tensor, v: Tensor, u: Tensor) -> list[Tensor]:
    """A leaf that is multiplied with what a parameter made of it."""
    return two_tasks(x + (y @ u).sigmoid() * y, w, v)


def several_outputs(x: Tensor, y: Tensor, w: Tensor, v: Tensor, u: Tensor) -> list[Tensor]:
    left, right = (torch.stack([x, y]) @ u).unbind(0)
    return two_tasks(left + right, w, v)


def past_all(x: Tensor, y: Tensor, w: Tensor, v: Tensor, u: Tensor) -> list[Tensor]:  # noqa: ARG001
    """One task reads no parameter."""
    return [(x * y).sum(), (x @ w).sum()]


def beside(x: Tensor, y: Tensor, w: Tensor, v: Tensor, u: Tensor) -> list[Tensor]:  # noqa: ARG001
    """A way past the parameters beside one through them."""
    first = two_tasks(x, w, v)
    return [first[0] + x.sum(), first[1] * y.sum()]


@pytest.mark.parametrize(
    ("graph", "stops_above"),
    [
        (first_layer, True),
        (two_layers_side_by_side, True),
        (attention, False),
        (several_outputs, True),
        (past_all, True),
        (beside, False),
    ],
)
def test_one_pass_instead_of_two(graph: Graph, stops_above: bool) -> None:
    random = torch.Generator().manual_seed(0)
    x, y, w, v, u = (
        torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_()
        for shape in ((5, 3), (5, 3), (3, 4), (4, 2), (3, 3))
    )
    leaves, parameters = [x, y], [w, v, u]
    losses = graph(x, y, w, v, u)
    edges = frontier(losses, leaves, parameters)
    assert all(type(edge.node).__name__ != "AccumulateGrad" for edge in edges) == stops_above
    expected: list[Tensor] = [torch.zeros_like(leaf) for leaf in leaves]
    down: list[Tensor | None] = [None] * len(edges)
    for loss, factor in zip(losses, FACTORS, strict=True):
        whole = torch.autograd.grad(loss, [*parameters, *leaves], retain_graph=True, allow_unused=True)
        found = torch.autograd.grad(loss, [*parameters, *edges], retain_graph=True, allow_unused=True)
        for own, other in zip(found[:3], whole[:3], strict=True):
            assert (own is None and other is None) or torch.equal(own, other)
        expected = [
            sum_ + factor * (0.0 if part is None else part) for sum_, part in zip(expected, whole[3:], strict=True)
        ]
        for at, part in enumerate(found[3:]):
            if part is not None:
                down[at] = factor * part + (0.0 if down[at] is None else down[at])
    known = [(edge, part) for edge, part in zip(edges, down, strict=True) if part is not None]
    got = torch.autograd.grad([edge for edge, _ in known], leaves, [part for _, part in known], allow_unused=True)
    for own, other in zip(got, expected, strict=True):
        torch.testing.assert_close(torch.zeros_like(other) if own is None else own, other, rtol=0, atol=1e-12)
