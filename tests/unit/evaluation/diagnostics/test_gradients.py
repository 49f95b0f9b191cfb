"""Gradient cosines against plain differentiation of each task's loss by itself, and where they are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mtl_ray.batch import Batch
from mtl_ray.evaluation.diagnostics.gradients import gradient_cosines
from mtl_ray.evaluation.diagnostics.result import Cosines
from mtl_ray.evaluation.diagnostics.size import model_size
from mtl_ray.models import MultiTaskModel
from mtl_ray.models.sharing import MMoEConfig, SharedBottomConfig, SingleTaskConfig, STEMConfig
from mtl_ray.schema import BatchSchema, LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, Task
from tests.random_batch import SCHEMA, make_tasks, random_batch

NARROW: dict[str, Any] = {"tower": (4,), "activation": "silu"}
SHARED = SharedBottomConfig(bottom=(6,), **NARROW)
PLACES = ["shared layers", "embedding tables", "encoded rows"]


def built(config: Any, seed: int = 0) -> tuple[MultiTaskModel, dict[str, Task]]:
    torch.manual_seed(seed)
    tasks = make_tasks()
    return config.build(SCHEMA, tasks).double().eval(), tasks


def by_place(found: tuple[Cosines, ...]) -> dict[str, Cosines]:
    return {item.place: item for item in found}


def plain_losses(model: MultiTaskModel, batch: Batch, tasks: dict[str, Task]) -> list[Tensor]:
    """Weighted means over observed rows, by loops over the rows."""
    logits = model(batch)
    losses = []
    for column, (name, task) in enumerate(tasks.items()):
        loss_B = task.loss(logits[name], batch.labels[:, column])
        rows = [row for row in range(len(batch)) if batch.observed[row, column]]
        total = sum(batch.sample_weight[row] * loss_B[row] for row in rows)
        losses.append(total / sum(batch.sample_weight[row] for row in rows))
    return losses


def cosine(one: list[Tensor], other: list[Tensor]) -> float:
    a, b = (torch.cat([tensor.reshape(-1) for tensor in side]) for side in (one, other))
    return float(F.cosine_similarity(a, b, dim=0))


@pytest.mark.parametrize("config", [SHARED, MMoEConfig(num_experts=3, expert=(5,), **NARROW)], ids=["shared", "mmoe"])
def test_cosines_are_those_of_each_loss_differentiated_alone(config: Any) -> None:
    model, tasks = built(config)
    batches = [random_batch(40, seed, torch.float64) for seed in range(3)]
    found = by_place(gradient_cosines(model, tasks, batches))
    assert list(found) == PLACES
    tables = model.embedding_parameters()
    layers = [p for p in model.shared_parameters() if not any(p is table for table in tables)]
    for place, parameters in (("shared layers", layers), ("embedding tables", tables)):
        expected = np.zeros((3, 3))
        for batch in batches:
            losses = plain_losses(model, batch, tasks)
            each = [list(torch.autograd.grad(loss, parameters, retain_graph=True)) for loss in losses]
            expected += [[cosine(one, other) / len(batches) for other in each] for one in each]
        np.testing.assert_allclose(np.array(found[place].cosine), expected, rtol=0, atol=1e-10, err_msg=place)
    assert found["shared layers"].batches == ((3, 3, 3),) * 3
    assert found["shared layers"].tasks == SCHEMA.tasks
    assert all(parameter.grad is None for parameter in model.parameters())


def test_cosines_of_the_encoded_rows() -> None:
    model, tasks = built(SHARED)
    batch = random_batch(40, 1, torch.float64)
    (encoder,) = model.encoders
    encoded = encoder(batch).detach().requires_grad_()
    model.encoders[0].register_forward_hook(lambda *_: encoded)
    each = [torch.autograd.grad(loss, encoded, retain_graph=True)[0] for loss in plain_losses(model, batch, tasks)]
    model, tasks = built(SHARED)
    found = by_place(gradient_cosines(model, tasks, [batch]))["encoded rows"]
    expected = [[cosine([one], [other]) for other in each] for one in each]
    np.testing.assert_allclose(np.array(found.cosine), expected, rtol=0, atol=1e-10)


def test_a_task_without_a_label_in_a_batch_is_left_out_of_it() -> None:
    model, tasks = built(SHARED)
    whole, without = random_batch(40, 0, torch.float64), random_batch(40, 1, torch.float64)
    observed = without.observed.clone()
    observed[:, 1] = False
    without = replace(without, observed=observed)
    both = by_place(gradient_cosines(model, tasks, [whole, without]))["shared layers"]
    alone = by_place(gradient_cosines(model, tasks, [whole]))["shared layers"]
    assert both.batches == ((2, 1, 2), (1, 1, 1), (2, 1, 2))
    assert both.cosine[1] == alone.cosine[1]
    never = by_place(gradient_cosines(model, tasks, [without]))["shared layers"]
    assert never.cosine[1] == (None, None, None)
    assert never.cosine[0][2] is not None


def test_opposite_labels_of_equal_heads_pull_against_each_other() -> None:
    """Two tasks alike but for their labels, 1 - y: at equal heads with a bias of 0 the gradients are opposite."""
    schema = SCHEMA.model_copy(update={"tasks": ("click", "other")})
    tasks: dict[str, Task] = {
        name: BinaryTaskConfig().build(name, LabelStatistics(observed=1000, mean=0.5)) for name in schema.tasks
    }
    torch.manual_seed(0)
    model = SHARED.build(schema, tasks).double().eval()
    with torch.no_grad():
        for mine, theirs in zip(model.task_parameters("click"), model.task_parameters("other"), strict=True):
            theirs.copy_(mine)
        for tower in model.towers.values():
            for parameter in tower.parameters():
                if parameter.shape == (1, 4):  # the head: logits of 0, so residuals of ± 1/2
                    parameter.mul_(1e-9)
                if parameter.ndim == 1 and len(parameter) == 1:
                    parameter.zero_()
    batch = random_batch(60, 0, torch.float64)
    label = batch.labels[:, :1]
    batch = replace(batch, labels=torch.cat([label, 1 - label], dim=1), observed=torch.ones(60, 2, dtype=torch.bool))
    for item in gradient_cosines(model, tasks, [batch]):
        assert item.cosine[0][1] == pytest.approx(-1.0, abs=1e-6), item.place


def test_tasks_that_share_nothing_have_no_cosine() -> None:
    model, tasks = built(SingleTaskConfig(bottom=(6,), **NARROW))
    assert gradient_cosines(model, tasks, [random_batch(20, 0, torch.float64)]) == ()


def test_of_several_encoders_those_that_several_tasks_read_count() -> None:
    model, tasks = built(STEMConfig(expert=(5,), **NARROW))
    found = by_place(gradient_cosines(model, tasks, [random_batch(30, 0, torch.float64)]))
    assert list(found) == PLACES
    assert all(-1.0 <= value <= 1.0 for row in found["encoded rows"].cosine for value in row if value is not None)


def test_sizes_count_every_parameter_once() -> None:
    for config in (SHARED, STEMConfig(expert=(5,), **NARROW), SingleTaskConfig(bottom=(6,), **NARROW)):
        model, _ = built(config)
        size = model_size(model, random_batch(10, 0, torch.float64))
        assert size.parameters == sum(parameter.numel() for parameter in model.parameters())
        assert size.embeddings == sum(table.numel() for table in model.embedding_parameters())


def test_size_of_a_shared_bottom_by_hand() -> None:
    schema = BatchSchema(vocabularies={}, numeric=SCHEMA.numeric, tasks=SCHEMA.tasks)
    model = SHARED.build(schema, make_tasks()).double().eval()
    width = len(SCHEMA.numeric)
    size = model_size(model, random_batch(10, 0, torch.float64))
    assert (size.embeddings, size.encoder, size.shared) == (0, 0, width * 6 + 6)
    outputs = {"click": 1, "rating": 3, "value": 1}
    assert size.tasks == {name: 6 * 4 + 4 + 4 * outs + outs for name, outs in outputs.items()}
    assert size.flops == 2 * (width * 6 + sum(6 * 4 + 4 * outs for outs in outputs.values()))
