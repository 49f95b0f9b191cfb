"""What tables learn by from sparse gradients: the steps of torch's own dense optimizers wherever both are defined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn import functional as F

from mtl_ray.optim import EmbeddingOptimizerConfig

ROWS, DIM, STEPS, RATE = 12, 3, 6, 0.05
BETAS = (0.8, 0.95)
Dense = Callable[[nn.Parameter], torch.optim.Optimizer]


def first() -> nn.Parameter:
    return nn.Parameter(torch.randn(ROWS, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))


def shown(step: int, every_row: bool) -> Tensor:
    """Ids of a batch, some more than once."""
    random = torch.Generator().manual_seed(step)
    some = torch.randint(0, ROWS, (ROWS // 2,), generator=random)
    return torch.cat([torch.arange(ROWS), some]) if every_row else some


def learnt(optimizer: torch.optim.Optimizer, table: nn.Parameter, sparse: bool, every_row: bool) -> Tensor:
    for step in range(STEPS):
        ids = shown(step, every_row)
        table.grad = None
        rows = F.embedding(ids, table, sparse=sparse)
        (rows * torch.arange(1.0, len(ids) + 1.0)[:, None]).square().mean().backward()  # type: ignore[no-untyped-call]
        if sparse:
            assert table.grad is not None
            table.grad = table.grad.coalesce()
        optimizer.step()
    return table.detach()


def configured(name: str, table: nn.Parameter, **settings: Any) -> torch.optim.Optimizer:
    config = TypeAdapter(EmbeddingOptimizerConfig).validate_python({"name": name, **settings})
    optimizer = config.build({"params": [table], "lr": RATE, "weight_decay": 0.0}, BETAS)
    assert isinstance(optimizer, torch.optim.Optimizer)
    return optimizer


@pytest.mark.parametrize(
    ("name", "settings", "dense"),
    [
        ("sgd", {}, lambda table: torch.optim.SGD([table], lr=RATE)),
        ("adagrad", {}, lambda table: torch.optim.Adagrad([table], lr=RATE)),
        (
            "adagrad",
            {"initial": 0.1, "eps": 1e-6},
            lambda table: torch.optim.Adagrad([table], lr=RATE, eps=1e-6, initial_accumulator_value=0.1),
        ),
        ("rowwise_adagrad", {}, lambda table: configured("rowwise_adagrad", table)),
    ],
    ids=["sgd", "adagrad", "adagrad with settings", "row-wise adagrad"],
)
def test_rows_that_a_batch_does_not_show_are_as_those_without_a_gradient(
    name: str, settings: dict[str, Any], dense: Dense
) -> None:
    table, other = first(), first()
    found = learnt(configured(name, table, **settings), table, sparse=True, every_row=False)
    expected = learnt(dense(other), other, sparse=False, every_row=False)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    assert not torch.equal(found, first().detach())


def test_sparse_adam_is_adam_where_every_row_is_shown() -> None:
    table, other = first(), first()
    found = learnt(configured("sparse_adam", table, eps=1e-12), table, sparse=True, every_row=True)
    adam = torch.optim.Adam([other], lr=RATE, betas=BETAS, eps=1e-12)
    torch.testing.assert_close(found, learnt(adam, other, sparse=False, every_row=True), rtol=0, atol=1e-9)


def test_sparse_adam_leaves_the_moments_of_rows_that_are_not_shown() -> None:
    """Which dense Adam would shrink, and so move the rows by."""
    table = first()
    optimizer = configured("sparse_adam", table)
    learnt(optimizer, table, sparse=True, every_row=True)
    before, state = table.detach().clone(), {k: v.clone() for k, v in optimizer.state[table].items() if k != "step"}
    table.grad = None
    F.embedding(torch.tensor([3]), table, sparse=True).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    others = torch.arange(ROWS) != 3
    assert torch.equal(table.detach()[others], before[others])
    assert not torch.equal(table.detach()[3], before[3])
    for name, value in state.items():
        assert torch.equal(optimizer.state[table][name][others], value[others])
