"""Shared-bottom, MMoE, PLE, ESMM and AITM against torch-rechub, with its weights copied from ours, in float64.

Where torch-rechub departs from a paper, it is led back: its batch norms, which no paper has, are set to the identity
(evaluation mode, mean 0, variance 1 - eps), and the biases of its softmax gates to 0. Its multi-task models know binary
and regression tasks; all tasks here are binary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_rechub.basic.features import SparseFeature
from torch_rechub.models.multi_task import AITM, ESMM, MMOE, PLE, SharedBottom

from mtl_ray.batch import Batch
from mtl_ray.models import MultiTaskModel
from mtl_ray.models.experts import Experts
from mtl_ray.models.mlp import MLP
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing import AITMConfig, ESMMConfig, MMoEConfig, PLEConfig, SharedBottomConfig
from mtl_ray.schema import BatchSchema, CategoricalFeature, LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, Task
from mtl_ray.tasks.task import TaskSettings

VOCABULARIES = {"user": 9, "item": 6, "tab": 4}
TASKS = ("click", "cart", "buy")
GIVEN = {"cart": "click", "buy": "cart"}
DIM, ROWS = 4, 40
TOWER = {"dims": [5, 4], "activation": "relu", "dropout": 0.0}
FEATURES = [SparseFeature(name, vocab_size=size, embed_dim=DIM) for name, size in VOCABULARIES.items()]


def ours(config: Mapping[str, Any], kind: type[ModelSettings], tasks: Sequence[str] = TASKS) -> MultiTaskModel:
    """Float64, with every parameter random; tasks are a chain where the architecture wants one."""
    schema = BatchSchema(
        vocabularies=VOCABULARIES,
        categorical=tuple(CategoricalFeature(name=name, vocabulary=name) for name in VOCABULARIES),
        tasks=tuple(tasks),
    )
    built: dict[str, Task] = {}
    for name in tasks:
        given = GIVEN.get(name, ()) if kind.task_graph == "required" else ()
        settings: TaskSettings = BinaryTaskConfig.model_validate({"given": given})
        built[name] = settings.build(name, LabelStatistics(observed=100, mean=0.3))
    values = {"encoder": {"embedding_dim": DIM}, "tower": TOWER["dims"], **config}
    model = kind.model_validate(values).build(schema, built).double().eval()
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=torch.float64) * 0.7)
    return model


def ids() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    return {name: torch.randint(0, size, (ROWS,), generator=random) for name, size in VOCABULARIES.items()}


def logits_of(model: MultiTaskModel) -> dict[str, Tensor]:
    nothing = torch.zeros(ROWS, 0, dtype=torch.float64)
    batch = Batch(
        categorical=torch.stack([*ids().values()], dim=1).int(),
        numeric=nothing,
        labels=nothing,
        observed=nothing.bool(),
        sample_weight=torch.ones(ROWS, dtype=torch.float64),
        row_id=torch.arange(ROWS),
    )
    return {name: logit.detach() for name, logit in model(batch).items()}


def peer_of(peer: nn.Module, model: MultiTaskModel) -> nn.Module:
    """`peer` in float64 with the identity for batch norms, 0 for biases, and our embeddings."""
    peer = peer.double().eval()
    table = model.encoder.embedding.weight.detach()
    with torch.no_grad():
        for module in peer.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_var.fill_(1.0 - module.eps)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.zero_()
        first = 0
        for name, size in VOCABULARIES.items():
            peer.embedding.embed_dict[name].weight.copy_(table[first : first + size])
            first += size
    return peer


def fill(theirs: nn.Module, weights: Sequence[Tensor], biases: Sequence[Tensor] | None = None) -> None:
    linears = [module for module in theirs.modules() if isinstance(module, nn.Linear)]
    assert len(linears) == len(weights)
    with torch.no_grad():
        for index, linear in enumerate(linears):
            assert linear.weight.shape == weights[index].shape
            linear.weight.copy_(weights[index])
            if biases is not None:
                linear.bias.copy_(biases[index])


def fill_mlp(theirs: nn.Module, mine: nn.Module) -> None:
    assert isinstance(mine, MLP)
    fill(theirs, [layer.weight for layer in mine.linears], [layer.bias for layer in mine.linears])


def fill_tower(theirs: nn.Module, mine: nn.Module) -> None:
    linears = [*mine.mlp.linears, mine.head]
    fill(theirs, [layer.weight for layer in linears], [layer.bias for layer in linears])


def fill_experts(theirs: Sequence[nn.Module], mine: nn.Module) -> None:
    assert isinstance(mine, Experts)
    assert len(theirs) == mine.num_experts
    for index, expert in enumerate(theirs):
        biases = [bias.view(mine.num_experts, -1)[index] for bias in mine.biases]
        fill(expert, [weight[index].T for weight in mine.weights], biases)


def assert_same(model: MultiTaskModel, peer: nn.Module) -> None:
    rates = torch.cat([torch.sigmoid(logit) for logit in logits_of(model).values()], dim=1)
    assert rates.std(dim=0).min() > 1e-3
    torch.testing.assert_close(peer(ids()).detach(), rates, rtol=0, atol=1e-12)


def test_shared_bottom() -> None:
    model = ours({"bottom": [7, 6]}, SharedBottomConfig)
    peer = SharedBottom(FEATURES, ["classification"] * 3, {"dims": [7, 6]}, [TOWER] * 3)
    peer_of(peer, model)
    fill_mlp(peer.bottom_mlp, model.sharing.bottom)
    for theirs, mine in zip(peer.towers, model.towers.values(), strict=True):
        fill_tower(theirs, mine)
    assert_same(model, peer)


def test_mmoe() -> None:
    model = ours({"num_experts": 3, "expert": [7, 6]}, MMoEConfig)
    peer = MMOE(FEATURES, ["classification"] * 3, 3, {"dims": [7, 6]}, [TOWER] * 3)
    peer_of(peer, model)
    fill_experts(list(peer.experts), model.sharing.experts)
    for index, mine in enumerate(model.towers.values()):
        fill(peer.gates[index], [model.sharing.gate_weights[index]])
        fill_tower(peer.towers[index], mine)
    assert_same(model, peer)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_ple(levels: int) -> None:
    model = ours({"task_experts": 2, "shared_experts": 3, "levels": [[7, 6]] * levels}, PLEConfig)
    peer = PLE(FEATURES, ["classification"] * 3, levels, 2, 3, {"dims": [7, 6]}, [TOWER] * 3)
    peer_of(peer, model)
    for depth, (theirs, mine) in enumerate(zip(peer.cgc_layers, model.sharing.levels, strict=True), start=1):
        for task in range(3):
            fill_experts(list(theirs.experts_specific[2 * task : 2 * task + 2]), mine.task_experts[task])
            fill(theirs.gates_specific[task], [mine.task_gates[task].weight])
        fill_experts(list(theirs.experts_shared), mine.shared_experts)
        if depth < levels:
            fill(theirs.gate_shared, [mine.shared_gate.weight])
    for theirs, mine in zip(peer.towers, model.towers.values(), strict=True):
        fill_tower(theirs, mine)
    assert_same(model, peer)


def test_esmm() -> None:
    model = ours({}, ESMMConfig, tasks=("click", "cart"))
    peer = ESMM(FEATURES[:1], FEATURES[1:], TOWER, TOWER)
    peer_of(peer, model)
    fill_tower(peer.tower_ctr, model.towers["task_click"])
    fill_tower(peer.tower_cvr, model.towers["task_cart"])
    logits = logits_of(model)
    _, click, both = peer(ids()).detach().unbind(dim=1)
    torch.testing.assert_close(torch.sigmoid(logits["click"][:, 0]), click, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.sigmoid(logits["cart"][:, 0]), both, rtol=0, atol=1e-12)


def test_aitm() -> None:
    # torch-rechub takes the root of the width in float32: that of 4 is exact.
    model = ours({"bottom": [7, 4]}, AITMConfig)
    peer = AITM(FEATURES, 3, {"dims": [7, 4]}, [TOWER] * 3)
    peer_of(peer, model)
    for index, mine in enumerate(model.towers.values()):
        fill_mlp(peer.bottoms[index], model.sharing.bottoms[index])
        fill_tower(peer.towers[index], mine)
    for index in range(2):
        fill_mlp(peer.info_gates[index], model.sharing.transfers[index])
        attention = model.sharing.attention[str(index + 1)]
        fill(peer.aits[index], [attention.query.weight, attention.key.weight, attention.value.weight])
    assert_same(model, peer)
