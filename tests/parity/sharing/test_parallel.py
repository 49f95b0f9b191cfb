"""Architectures without a task graph against references written as loops over rows, tasks, experts and units."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mtl_ray.models import MultiTaskModel
from mtl_ray.models.sharing import (
    AdaTTConfig,
    CGCConfig,
    CrossStitchConfig,
    HierarchicalConfig,
    HoMEConfig,
    OMoEConfig,
    PEPNetConfig,
    PLEConfig,
    SingleTaskConfig,
    SNRConfig,
    SoftSharingConfig,
    STEMConfig,
)
from mtl_ray.models.sharing.home import GatedExperts, HoME, Mixture
from mtl_ray.models.sharing.pepnet import GateNU
from mtl_ray.models.sharing.snr import Connection
from tests.parity.sharing.loops import (
    activated,
    all_experts,
    assert_logits,
    assert_representation,
    expert,
    expert_layer,
    gated,
    linear,
    mlp,
    softmax,
    weighted,
)
from tests.unit.models.task_sets import PLAIN, SERIAL

T = len(PLAIN.schema.tasks)


def test_single_task() -> None:
    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        assert len(x) == T
        assert len({encoder.embedding.weight.data_ptr() for encoder in model.encoders}) == T
        return [mlp(model.sharing.bottoms[task], x[task]) for task in range(T)]

    assert_logits(SingleTaskConfig(bottom=(6, 5), tower=(4,)), PLAIN, reference)


def test_soft_sharing() -> None:
    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        return [mlp(model.sharing.bottoms[task], x[0]) for task in range(T)]

    assert_logits(SoftSharingConfig(bottom=(6, 5), tower=(4,)), PLAIN, reference)


@pytest.mark.parametrize("exits", [{}, {"click": 3, "rating": 1, "value": 1}])
def test_hierarchical(exits: dict[str, int]) -> None:
    depths = [exits[task] for task in PLAIN.schema.tasks] if exits else [1, 2, 3]

    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        inputs = []
        for depth in depths:
            h = x[0]
            for layer in range(depth):
                h = mlp(model.sharing.layers[layer], h)
            inputs.append(h)
        return inputs

    config = HierarchicalConfig(trunk=(7, 6, 5), exits=exits, tower=(4,))
    assert_logits(config, PLAIN, reference)
    assert_representation(config, PLAIN, lambda model, x: mlp(model.sharing.layers[0], x[0]))


def test_hierarchical_leaves_by_the_task_graph() -> None:
    # click before cart and save before purchase; value, without a parent, leaves with click.
    depths = {"click": 1, "value": 1, "save": 2, "cart": 2, "purchase": 3}

    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        hidden = [x[0]]
        for layer in model.sharing.layers:
            hidden.append(mlp(layer, hidden[-1]))
        return [hidden[depths[task]] for task in SERIAL.schema.tasks]

    assert_logits(HierarchicalConfig(trunk=(7, 6, 5), tower=(4,)), SERIAL, reference)


def test_cross_stitch() -> None:
    def columns(model: MultiTaskModel, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        below = [x[0]] * T
        column: list[Tensor] = []
        for layer in range(2):
            column = [expert_layer(model.sharing.columns, task, layer, below[task]) for task in range(T)]
            below = [weighted(list(model.sharing.stitches[layer][task]), column) for task in range(T)]
        return below, column

    config = CrossStitchConfig(bottom=(6, 5), tower=(4,))
    assert_logits(config, PLAIN, lambda model, x: columns(model, x)[0])
    assert_representation(config, PLAIN, lambda model, x: torch.cat(columns(model, x)[1]))


@pytest.mark.parametrize("connection", ["transform", "average"])
def test_snr(connection: str) -> None:
    def connected(module: nn.Module, below: list[Tensor]) -> Tensor:
        assert isinstance(module, Connection)
        total = torch.zeros_like(below[0])
        for source, u in enumerate(below):
            stretched = 1.2 / (1 + torch.exp(-module.log_alpha[source])) - 0.1
            gate = min(torch.ones_like(stretched), max(torch.zeros_like(stretched), stretched))
            total = total + gate * (u if module.weight is None else linear(u, module.weight[source].T))
        return total

    def top(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        below = all_experts(model.sharing.levels[0], x[0])
        for connections, level in zip(model.sharing.connections, model.sharing.levels[1:], strict=True):
            inputs = [connected(module, below) for module in connections]
            below = [expert(level, index, value) for index, value in enumerate(inputs)]
        return below

    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        below = top(model, x)
        return [connected(module, below) for module in model.sharing.task_connections]

    config = SNRConfig(num_experts=3, expert=(6, 5, 4), connection=connection, tower=(4,))
    assert_logits(config, PLAIN, reference)
    assert_representation(config, PLAIN, lambda model, x: torch.cat(top(model, x)))


def test_omoe() -> None:
    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        return [gated(model.sharing.gate.weight, x[0], all_experts(model.sharing.experts, x[0]))] * T

    config = OMoEConfig(num_experts=3, expert=(6, 5), tower=(4,))
    assert_logits(config, PLAIN, reference)
    assert_representation(config, PLAIN, lambda model, x: reference(model, x)[0])


def test_cgc() -> None:
    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        level = model.sharing.level
        inputs = []
        for task in range(T):
            seen = [*all_experts(level.task_experts[task], x[0]), *all_experts(level.shared_experts, x[0])]
            inputs.append(gated(level.task_gates[task].weight, x[0], seen))
        return inputs

    config = CGCConfig(task_experts=2, shared_experts=3, expert=(6, 5), tower=(4,))
    assert_logits(config, PLAIN, reference)
    shared = lambda model, x: torch.cat(all_experts(model.sharing.level.shared_experts, x[0]))  # noqa: E731
    assert_representation(config, PLAIN, shared)


def test_ple() -> None:
    def below_last(model: MultiTaskModel, x: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        tasks, shared = [x[0]] * T, x[0]
        for level in model.sharing.levels[:-1]:
            own = [all_experts(level.task_experts[task], tasks[task]) for task in range(T)]
            common = all_experts(level.shared_experts, shared)
            every = [output for experts in own for output in experts] + common
            above = [gated(level.task_gates[task].weight, tasks[task], own[task] + common) for task in range(T)]
            tasks, shared = above, gated(level.shared_gate.weight, shared, every)
        return tasks, shared

    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        tasks, shared = below_last(model, x)
        level = model.sharing.levels[-1]
        inputs = []
        for task in range(T):
            seen = [*all_experts(level.task_experts[task], tasks[task]), *all_experts(level.shared_experts, shared)]
            inputs.append(gated(level.task_gates[task].weight, tasks[task], seen))
        return inputs

    def shared(model: MultiTaskModel, x: list[Tensor]) -> Tensor:
        return torch.cat(all_experts(model.sharing.levels[-1].shared_experts, below_last(model, x)[1]))

    config = PLEConfig(task_experts=2, shared_experts=1, levels=((7, 6), (5,), (4,)), tower=(4,))
    assert_logits(config, PLAIN, reference)
    assert_representation(config, PLAIN, shared)


@pytest.mark.parametrize(("task_experts", "shared_experts"), [(2, 1), (1, 0), (1, 2)])
def test_adatt(task_experts: int, shared_experts: int) -> None:
    def fused(level: nn.Module, inputs: list[Tensor], module: int) -> Tensor:
        own = [all_experts(experts, x) for experts, x in zip(level.experts, inputs, strict=True)]
        every = [output for experts in own for output in experts]
        native = level.native[module]
        weights = list(native[0]) if len(native) else [torch.ones((), dtype=torch.float64)]
        return gated(level.gates[module].weight, inputs[module], every) + weighted(weights, own[module])

    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        *below, last = model.sharing.levels
        modules = T + (1 if shared_experts else 0)
        inputs = [x[0]] * modules
        for level in below:
            inputs = [fused(level, inputs, module) for module in range(modules)]
        return [fused(last, inputs, task) for task in range(T)]

    config = AdaTTConfig(
        task_experts=task_experts, shared_experts=shared_experts, levels=((7, 6), (5,), (4,)), tower=(4,)
    )
    assert_logits(config, PLAIN, reference)


def test_stem() -> None:
    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        assert len(x) == T + 1
        own = [all_experts(model.sharing.task_experts[task], x[task + 1]) for task in range(T)]
        shared = all_experts(model.sharing.shared_experts, x[0])
        inputs = []
        for task in range(T):
            seen = [h if other == task else h.detach() for other, experts in enumerate(own) for h in experts]
            inputs.append(gated(model.sharing.task_gates[task].weight, x[task + 1] + x[0], seen + shared))
        return inputs

    config = STEMConfig(task_experts=2, shared_experts=1, expert=(6, 5), tower=(4,))
    assert_logits(config, PLAIN, reference)
    shared = lambda model, x: torch.cat(all_experts(model.sharing.shared_experts, x[0]))  # noqa: E731
    assert_representation(config, PLAIN, shared)


@pytest.mark.parametrize(("groups", "num_experts"), [((("value", "click"), ("rating",)), 2), ((), 1)])
def test_home(groups: tuple[tuple[str, ...], ...], num_experts: int) -> None:
    group_of = [0, 1, 0] if groups else [0, 1, 2]

    def outputs(module: nn.Module, x: Tensor) -> list[Tensor]:
        assert isinstance(module, GatedExperts)
        found = []
        for index in range(num_experts):
            low = linear(x, module.down[index].T)
            factor = torch.stack([2 / (1 + torch.exp(-score)) for score in linear(low, module.up[index].T)])
            found.append(expert(module.experts, index, factor * x, "silu"))
        return found

    def mixture(module: nn.Module, x: Tensor, seen: list[Tensor], own: list[Tensor]) -> Tensor:
        assert isinstance(module, Mixture)
        scores = list(linear(x, module.self_gate.weight))
        weights = softmax(scores) if len(scores) > 1 else [1 / (1 + torch.exp(-scores[0]))]
        return gated(module.gate.weight, x, seen) + weighted(weights, own)

    def meta(sharing: HoME, x: Tensor) -> list[Tensor]:
        *group_experts, shared = [outputs(experts, x) for experts in sharing.meta_experts]
        z = [mixture(sharing.meta_mixtures[g], x, own + shared, own) for g, own in enumerate(group_experts)]
        every = [output for own in group_experts for output in own] + shared
        return [*z, mixture(sharing.meta_mixtures[-1], x, every, shared)]

    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        sharing = model.sharing
        assert isinstance(sharing, HoME)
        z = meta(sharing, x[0])
        inputs = []
        for task in range(T):
            group = group_of[task]
            own = outputs(sharing.task_experts[task], z[group])
            seen = own + outputs(sharing.upper_experts[group], z[group]) + outputs(sharing.upper_experts[-1], z[-1])
            inputs.append(mixture(sharing.task_mixtures[task], z[group], seen, own))
        return inputs

    def shared(model: MultiTaskModel, x: list[Tensor]) -> Tensor:
        sharing = model.sharing
        assert isinstance(sharing, HoME)
        return torch.cat(outputs(sharing.upper_experts[-1], meta(sharing, x[0])[-1]))

    config = HoMEConfig(groups=groups, num_experts=num_experts, meta=(7, 6), expert=(5,), rank=2, tower=(4,))
    assert_logits(config, PLAIN, reference)
    assert_representation(config, PLAIN, shared)


def test_pepnet() -> None:
    def gate(module: nn.Module, x: Tensor) -> Tensor:
        assert isinstance(module, GateNU)
        hidden = activated(linear(x, module.hidden.weight, module.hidden.bias))
        return torch.stack([2 / (1 + torch.exp(-s)) for s in linear(hidden, module.out.weight, module.out.bias)])

    def embedding(model: MultiTaskModel, x: list[Tensor]) -> Tensor:
        return gate(model.sharing.embedding_gate, torch.cat([x[1], x[0].detach()])) * x[0]

    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        personal = embedding(model, x)
        inputs = []
        for layers in model.sharing.task_layers:
            h = personal
            for layer, unit in zip(layers.layers, layers.gates, strict=True):
                h = mlp(layer, gate(unit, torch.cat([x[2], personal.detach()])) * h)
            inputs.append(h)
        return inputs

    config = PEPNetConfig(domain=("tab",), prior=("user_id", "tabs", "age"), gate=3, bottom=(6, 5), tower=(4,))
    assert_logits(config, PLAIN, reference)
    assert_representation(config, PLAIN, embedding)
