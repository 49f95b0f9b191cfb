"""Architectures against references written as plain loops over experts, tasks and rows, with the same weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtl_ray.models import MultiTaskModel
from mtl_ray.models.sharing import MMoE, MMoEConfig, SharedBottom, SharedBottomConfig
from tests.random_batch import SCHEMA, make_tasks, random_batch

ROWS = 13


def randomised(config: MMoEConfig | SharedBottomConfig) -> MultiTaskModel:
    """A float64 model in which no parameter is at a special value such as a zero bias or an equal gate."""
    model = config.build(SCHEMA, make_tasks()).double()
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=torch.float64) / 3)
    return model


def normalised(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Layer norm of one vector: Ba, Kiros and Hinton (2016), equation 4, with torch's epsilon."""
    return (h - h.mean()) / torch.sqrt(h.var(correction=0) + 1e-5) * scale + shift


def mlp(x: Tensor, state: dict[str, Tensor], layers: int, norm: bool) -> Tensor:
    for layer in range(layers):
        x = state[f"linears.{layer}.weight"] @ x + state[f"linears.{layer}.bias"]
        if norm:
            x = normalised(x, state[f"norms.{layer}.weight"], state[f"norms.{layer}.bias"])
        x = torch.relu(x)
    return x


def logits_of(model: MultiTaskModel, task: str, x: Tensor, norm: bool) -> Tensor:
    tower = model.towers[f"task_{task}"].state_dict()
    h = mlp(x, {name.removeprefix("mlp."): value for name, value in tower.items()}, 2, norm)
    return tower["head.weight"] @ h + tower["head.bias"]


@pytest.mark.parametrize("norm", [False, True])
def test_mmoe(norm: bool) -> None:
    hidden = (10, 6)
    config = MMoEConfig(num_experts=3, expert=hidden, tower=(5, 4), norm="layer" if norm else "none")
    model = randomised(config)
    sharing = model.sharing
    assert isinstance(sharing, MMoE)
    batch = random_batch(ROWS, dtype=torch.float64)
    encoded = model.encoder(batch)
    found = model(batch)
    for row in range(ROWS):
        experts = []
        for expert in range(3):
            h = encoded[row]
            for layer, size in enumerate(hidden):
                flat = slice(expert * size, (expert + 1) * size)
                h = sharing.experts.weights[layer][expert].T @ h + sharing.experts.biases[layer][flat]
                if norm:
                    scale, shift = sharing.experts.norms[layer].weight, sharing.experts.norms[layer].bias
                    h = normalised(h, scale[flat], shift[flat])
                h = torch.relu(h)
            experts.append(h)
        for index, task in enumerate(SCHEMA.tasks):
            scores = [torch.exp(gate @ encoded[row]) for gate in sharing.gate_weights[index]]
            mixed = sum(score / sum(scores) * h for score, h in zip(scores, experts, strict=True))
            assert isinstance(mixed, Tensor)
            expected = logits_of(model, task, mixed, norm)
            torch.testing.assert_close(found[task][row], expected, rtol=0, atol=1e-12)
        side_by_side = torch.cat(experts)
        torch.testing.assert_close(model.representation(batch)[row], side_by_side, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", [False, True])
def test_shared_bottom(norm: bool) -> None:
    model = randomised(SharedBottomConfig(bottom=(10, 6), tower=(5, 4), norm="layer" if norm else "none"))
    assert isinstance(model.sharing, SharedBottom)
    batch = random_batch(ROWS, dtype=torch.float64)
    encoded = model.encoder(batch)
    found = model(batch)
    for row in range(ROWS):
        shared = mlp(encoded[row], model.sharing.bottom.state_dict(), 2, norm)
        torch.testing.assert_close(model.representation(batch)[row], shared, rtol=0, atol=1e-12)
        for task in SCHEMA.tasks:
            expected = logits_of(model, task, shared, norm)
            torch.testing.assert_close(found[task][row], expected, rtol=0, atol=1e-12)


def test_mmoe_with_one_expert_is_a_shared_bottom() -> None:
    one = randomised(MMoEConfig(num_experts=1, expert=(10, 6), tower=(5,)))
    shared = randomised(SharedBottomConfig(bottom=(10, 6), tower=(5,)))
    assert isinstance(one.sharing, MMoE)
    assert isinstance(shared.sharing, SharedBottom)
    shared.encoder.load_state_dict(one.encoder.state_dict())
    shared.towers.load_state_dict(one.towers.state_dict())
    weights = {f"linears.{i}.weight": w.detach()[0].T for i, w in enumerate(one.sharing.experts.weights)}
    biases = {f"linears.{i}.bias": b.detach() for i, b in enumerate(one.sharing.experts.biases)}
    shared.sharing.bottom.load_state_dict(weights | biases)
    batch = random_batch(ROWS, dtype=torch.float64)
    expected, found = shared(batch), one(batch)
    for task in SCHEMA.tasks:
        torch.testing.assert_close(found[task], expected[task], rtol=0, atol=1e-12)


def test_gates_are_a_distribution_that_follows_the_row() -> None:
    model = randomised(MMoEConfig(num_experts=4, expert=(6,)))
    assert isinstance(model.sharing, MMoE)
    x = model.encoder(random_batch(ROWS, dtype=torch.float64))
    gates = model.gates(random_batch(ROWS, dtype=torch.float64))
    assert list(gates) == list(SCHEMA.tasks)
    for task, gate in enumerate(gates.values()):
        torch.testing.assert_close(gate.sum(dim=-1), torch.ones(ROWS, dtype=torch.float64))
        torch.testing.assert_close(gate, F.softmax(x @ model.sharing.gate_weights[task].T, dim=-1))
        assert gate.std(dim=0).min() > 0
