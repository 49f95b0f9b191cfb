"""Sparse optimizers of embedding tables: row-wise Adagrad against loops, groups, refusals, and the clip."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mtl_ray.models.sharing import MMoEConfig, STEMConfig
from mtl_ray.optim import OptimizerConfig, ScheduleConfig, build_optimizer, build_schedule, embedding_rows
from mtl_ray.optim.embeddings import AutoConfig, RowwiseAdagradConfig
from mtl_ray.optim.mixed import MixedOptimizer
from mtl_ray.training.affinity.lookahead import step_scales
from mtl_ray.training.backward.row_exchange import RowExchange
from mtl_ray.training.clip import clip_gradients
from tests.random_batch import SCHEMA, make_tasks

ROWS, DIM, RATE = 7, 3, 0.3


def sparse_gradient(seed: int) -> torch.Tensor:
    """Of rows 1, 4 and 4 again."""
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(3, DIM, generator=random, dtype=torch.float64)
    return torch.sparse_coo_tensor(torch.tensor([[4, 1, 4]]), values, (ROWS, DIM), check_invariants=True)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_rowwise_adagrad_is_its_formula(dense: bool, decay: float) -> None:
    torch.manual_seed(0)
    table = nn.Parameter(torch.randn(ROWS, DIM, dtype=torch.float64))
    expected = table.detach().tolist()
    sums = [0.5] * ROWS
    group = {"params": [table], "lr": RATE, "weight_decay": decay}
    optimizer = RowwiseAdagradConfig(initial=0.5, eps=0.01).build(group, (0.9, 0.999))
    for step in range(3):
        table.grad = sparse_gradient(step)
        gradient = table.grad.to_dense()
        if dense:
            table.grad = gradient.clone()
        else:
            RowExchange([table])()
        for row in range(ROWS) if dense else (1, 4):
            own = [float(value) for value in gradient[row]]
            sums[row] += sum(value * value for value in own) / DIM
            rate = RATE / (sums[row] ** 0.5 + 0.01)
            expected[row] = [
                old - RATE * decay * old - rate * value for old, value in zip(expected[row], own, strict=True)
            ]
        optimizer.step()
    torch.testing.assert_close(table.detach(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("sparse_from", [0, 1, "their rows", "one more"])
def test_auto_goes_by_the_rows_of_all_tables(sparse_from: int | str) -> None:
    model = STEMConfig(expert=(8,)).build(SCHEMA, make_tasks())
    rows = sum(len(table.weight) for table in model.embedding_tables())
    assert embedding_rows(model) == rows
    limit = sparse_from if isinstance(sparse_from, int) else rows + (sparse_from == "one more")
    config = OptimizerConfig(learning_rate=0.1, embeddings=AutoConfig(sparse_from=limit))
    optimizer = build_optimizer(config, model)
    sparse = limit <= rows
    assert isinstance(optimizer, MixedOptimizer) == sparse
    assert all(table.sparse == sparse for table in model.embedding_tables())
    (rate,) = (group["lr"] for group in optimizer.param_groups if group["name"] == "embeddings")
    assert rate == (0.01 if sparse else 0.1)


def test_auto_leaves_a_decay_to_every_row() -> None:
    model = MMoEConfig(num_experts=2, expert=(8,)).build(SCHEMA, make_tasks())
    config = OptimizerConfig(embeddings=AutoConfig(sparse_from=0), embedding_weight_decay=0.1)
    assert isinstance(build_optimizer(config, model), torch.optim.AdamW)
    assert not any(table.sparse for table in model.embedding_tables())


def test_small_tables_learn_as_all_else_by_default() -> None:
    optimizer = build_optimizer(OptimizerConfig(), MMoEConfig(num_experts=2, expert=(8,)).build(SCHEMA, make_tasks()))
    assert isinstance(optimizer, torch.optim.AdamW)


def test_the_schedule_reaches_the_tables() -> None:
    model = MMoEConfig(num_experts=2, expert=(8,)).build(SCHEMA, make_tasks())
    config = OptimizerConfig(learning_rate=0.1, embeddings=RowwiseAdagradConfig())
    optimizer = build_optimizer(config, model)
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == {
        "matrices": 0.1,
        "vectors": 0.1,
        "embeddings": 0.01,
    }
    schedule = build_schedule(ScheduleConfig(decay="linear"), optimizer, 10)
    optimizer.step()
    schedule.step()
    saved = copy.deepcopy(optimizer.state_dict())
    optimizer.load_state_dict(saved)
    schedule.step()
    rates = [group["lr"] for part in optimizer.parts for group in part.param_groups]  # type: ignore[attr-defined]
    assert rates == pytest.approx([0.08, 0.08, 0.008])


def test_frozen_tables_are_left_out() -> None:
    model = MMoEConfig(num_experts=2, expert=(8,)).build(SCHEMA, make_tasks())
    for parameter in model.embedding_parameters():
        parameter.requires_grad_(False)
    optimizer = build_optimizer(OptimizerConfig(embeddings=RowwiseAdagradConfig()), model)
    assert [group["name"] for group in optimizer.param_groups] == ["matrices", "vectors"]


@pytest.mark.parametrize("name", ["adagrad", "sgd", "sparse_adam"])
def test_a_decay_that_would_not_hold_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"embedding_weight_decay is 0.1, but embeddings {name} takes none"):
        OptimizerConfig.model_validate({"embeddings": {"name": name}, "embedding_weight_decay": 0.1})


@pytest.mark.parametrize("name", ["rowwise_adagrad", "adagrad", "sgd", "sparse_adam"])
def test_affinity_sees_what_the_coming_step_will_do(name: str) -> None:
    """`step_scales` before the second step, against how far it moves the table; without momentum."""
    table = nn.Parameter(torch.zeros(ROWS, DIM, dtype=torch.float64))
    config = OptimizerConfig.model_validate({"embeddings": {"name": name}, "betas": (0.0, 0.99)})
    group = {"params": [table], "lr": RATE, "weight_decay": 0.0}
    optimizer = MixedOptimizer([config.embeddings.build(group, config.betas)])
    for seed in range(2):
        table.grad = sparse_gradient(seed)
        RowExchange([table])()
        before, gradient = table.detach().clone(), table.grad.to_dense()
        (scale,) = step_scales(optimizer, [table])
        optimizer.step()
        torch.testing.assert_close(before - table.detach(), scale * gradient, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("most", [0.5, 100.0])
def test_the_clip_is_that_of_dense_gradients(most: float) -> None:
    torch.manual_seed(0)
    table, layer = nn.Parameter(torch.zeros(ROWS, DIM, dtype=torch.float64)), nn.Linear(2, 2).double()
    table.grad = sparse_gradient(0)
    RowExchange([table])()
    dense = nn.Parameter(torch.zeros(ROWS, DIM, dtype=torch.float64))
    dense.grad = table.grad.to_dense()
    for parameter in layer.parameters():
        parameter.grad = torch.randn_like(parameter)
    twin = copy.deepcopy(layer)
    for parameter, other in zip(twin.parameters(), layer.parameters(), strict=True):
        parameter.grad = None if other.grad is None else other.grad.clone()
    clip_gradients([table, *layer.parameters()], most)
    nn.utils.clip_grad_norm_([dense, *twin.parameters()], most)
    torch.testing.assert_close(table.grad.to_dense(), dense.grad, rtol=0, atol=1e-15)
    for parameter, other in zip(layer.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, rtol=0, atol=1e-15)
