"""One step against TorchJD's aggregators, called on the Jacobian of the whole batch.

The Jacobian is taken here, by a plain backward pass a task: over the dense shared parameters, or at the shared
representation of a shared bottom, whose gradient is then handed down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchjd.aggregation as jd
from torch import Tensor

from mtl_ray.aggregation import (
    AggregationSettings,
    AlignedMTLConfig,
    CAGradConfig,
    GradDropConfig,
    GradVacConfig,
    IMTLGConfig,
    MetaBalanceConfig,
    MGDAConfig,
    NashMTLConfig,
    PCGradConfig,
    UPGradConfig,
)
from mtl_ray.models import MultiTaskModel
from mtl_ray.models.sharing.shared_bottom import SharedBottomConfig
from mtl_ray.tasks.losses import normalise, task_losses
from tests.parity.balancing.balanced_steps import Balance, build, global_batch, gradients_of, named, train_step
from tests.unit.models.task_sets import PLAIN

TOLERANCE = 1e-8
MODEL = SharedBottomConfig(bottom=(8, 6), tower=(4,))
WEIGHT = 0.5
CASES: list[tuple[AggregationSettings, Callable[[], Any]]] = [
    (MGDAConfig(), jd.MGDA),
    (IMTLGConfig(), jd.IMTLG),
    (AlignedMTLConfig(), jd.AlignedMTL),
    (UPGradConfig(), jd.UPGrad),
    (CAGradConfig(c=0.4), lambda: jd.CAGrad(0.4)),
    (PCGradConfig(), jd.PCGrad),
    (GradVacConfig(beta=0.01), lambda: jd.GradVac(0.01)),
    (NashMTLConfig(), lambda: jd.NashMTL(3)),
]
every_case = pytest.mark.parametrize(
    ("config", "theirs"), CASES, ids=[config.model_dump()["name"] for config, _ in CASES]
)


def losses_of(logits: dict[str, Tensor], number: int = 0) -> Tensor:
    """Weighted, of that step's batch, `[T]`."""
    batch = global_batch(number)
    parts = task_losses(logits, batch, PLAIN.tasks())
    return WEIGHT * normalise(parts.sums, parts.weights, 1)


def drawn(config: AggregationSettings) -> None:
    """Put torch's own generator where ours begins in the first step."""
    from mtl_ray.aggregation import AggregationContext

    built = config.build(AggregationContext(PLAIN.schema.tasks, seed=3))
    assert built is not None
    torch.default_generator.set_state(built.draws().get_state())


def unit(jacobian: Tensor, config: AggregationSettings) -> Tensor:
    """The Jacobian by which TorchJD gives what it would of a longer one: some of its methods add small constants."""
    if config.model_dump()["name"] == "nash_mtl":
        return jacobian
    return jacobian / jacobian.square().sum(dim=1).mean().sqrt()


def aggregate(config: AggregationSettings, theirs: Callable[[], Any], jacobian: Tensor) -> Tensor:
    """`[P]` from `[T, P]`, in the Jacobian's unit."""
    drawn(config)
    scaled = unit(jacobian, config)
    factor = float((jacobian.norm() / scaled.norm()).detach())
    found: Tensor = theirs()(scaled)
    return found * factor


@every_case
def test_over_the_shared_parameters(config: AggregationSettings, theirs: Callable[[], Any]) -> None:
    model = build(MODEL)
    tables = {id(table) for table in model.embedding_parameters()}
    shared = [parameter for parameter in model.shared_parameters() if id(parameter) not in tables]
    losses = losses_of(model(global_batch(0)))
    rows = [torch.autograd.grad(loss, shared, retain_graph=True) for loss in losses]
    jacobian = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    expected = aggregate(config, theirs, jacobian).split([parameter.numel() for parameter in shared])
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    step, _, _ = train_step(Balance(aggregation=config, on="shared"), model)
    own = plain_gradients(model, losses)
    step(global_batch(0))
    found = gradients_of(model, before)
    for name, part in zip(named(shared, model), expected, strict=True):
        torch.testing.assert_close(found[name].flatten(), part, rtol=0, atol=TOLERANCE, msg=name)
    for name in named([p for task in model.task_names for p in model.task_parameters(task)], model):
        torch.testing.assert_close(found[name], own[name], rtol=0, atol=TOLERANCE, msg=name)


@every_case
def test_at_the_representation(config: AggregationSettings, theirs: Callable[[], Any]) -> None:
    model = build(MODEL)
    batch = global_batch(0)
    hidden_BH = model.representation(batch)
    leaf_BH = hidden_BH.detach().requires_grad_()
    logits = {name: tower(leaf_BH) for name, tower in zip(model.task_names, model.towers.values(), strict=True)}
    losses = losses_of(logits)
    rows = [torch.autograd.grad(loss, leaf_BH, retain_graph=True)[0].flatten() for loss in losses]
    down = aggregate(config, theirs, torch.stack(rows)).view_as(leaf_BH)
    shared = model.shared_parameters()
    expected = torch.autograd.grad(hidden_BH, shared, down)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    own = plain_gradients(model, losses_of(model(batch)))
    step, _, _ = train_step(Balance(aggregation=config), model)
    step(batch)
    found = gradients_of(model, before)
    for name, part in zip(named(shared, model), expected, strict=True):
        torch.testing.assert_close(found[name], part, rtol=0, atol=TOLERANCE, msg=name)
    for name in named([p for task in model.task_names for p in model.task_parameters(task)], model):
        torch.testing.assert_close(found[name], own[name], rtol=0, atol=TOLERANCE, msg=name)


def plain_gradients(model: MultiTaskModel, losses: Tensor) -> dict[str, Tensor]:
    """Of the sum."""
    names = dict(model.named_parameters())
    found = torch.autograd.grad(losses.sum(), list(names.values()), retain_graph=True, allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(names.items(), found, strict=True)}


def shared_jacobian(model: MultiTaskModel, number: int) -> tuple[list[str], list[list[Tensor]]]:
    """Names of the dense shared parameters, and each task's gradients of them."""
    tables = {id(table) for table in model.embedding_parameters()}
    shared = [parameter for parameter in model.shared_parameters() if id(parameter) not in tables]
    losses = losses_of(model(global_batch(number)), number)
    return named(shared, model), [list(torch.autograd.grad(loss, shared, retain_graph=True)) for loss in losses]


@pytest.mark.parametrize("leak", [0.0, 0.3])
def test_graddrop_is_the_papers_formula(leak: float) -> None:
    model = build(MODEL)
    config = GradDropConfig(leak=leak)
    names, rows = shared_jacobian(model, 0)
    step, _, aggregation = train_step(Balance(aggregation=config, on="shared"), model)
    generator = aggregation.draws()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    step(global_batch(0))
    found = gradients_of(model, before)
    dropped = 0
    for at, name in enumerate(names):
        column_TC = torch.stack([row[at].flatten() for row in rows])
        drawn_C = torch.rand(column_TC.shape[1], generator=generator, dtype=torch.float64)
        for place in range(column_TC.shape[1]):
            values = [float(value) for value in column_TC[:, place]]
            purity = 0.5 * (1 + sum(values) / sum(abs(value) for value in values)) if any(values) else 0.5
            positive = purity > float(drawn_C[place])
            kept = [value if (value > 0) == positive else leak * value for value in values]
            dropped += kept != values
            assert float(found[name].flatten()[place]) == pytest.approx(sum(kept), abs=TOLERANCE)
    assert dropped > 0


def test_graddrop_at_a_representation_of_one_tensor() -> None:
    model = build(MODEL)
    batch = global_batch(0)
    hidden_BH = model.representation(batch)
    leaf_BH = hidden_BH.detach().requires_grad_()
    logits = {name: tower(leaf_BH) for name, tower in zip(model.task_names, model.towers.values(), strict=True)}
    rows = [torch.autograd.grad(loss, leaf_BH, retain_graph=True)[0] for loss in losses_of(logits)]
    step, _, aggregation = train_step(Balance(aggregation=GradDropConfig()), model)
    drawn_H = torch.rand(leaf_BH.shape[1], generator=aggregation.draws(), dtype=torch.float64)
    down_BH = torch.zeros_like(leaf_BH)
    for place in range(leaf_BH.shape[1]):
        values = [float(row[:, place].sum()) for row in rows]
        positive = 0.5 * (1 + sum(values) / sum(map(abs, values))) > float(drawn_H[place])
        for row, value in zip(rows, values, strict=True):
            if (value > 0) == positive:
                down_BH[:, place] += row[:, place]
    shared = model.shared_parameters()
    expected = torch.autograd.grad(hidden_BH, shared, down_BH)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    step(batch)
    found = gradients_of(model, before)
    for name, part in zip(named(shared, model), expected, strict=True):
        torch.testing.assert_close(found[name], part, rtol=0, atol=TOLERANCE, msg=name)
    assert not any("factor" in name for name in step.balance.values())


def test_metabalance_is_the_papers_algorithm() -> None:
    model = build(MODEL)
    config = MetaBalanceConfig(target="rating", relax=0.7, beta=0.9)
    running: dict[str, list[float]] = {}
    step, _, _ = train_step(Balance(aggregation=config, on="shared"), model)
    for number in range(2):
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        names, rows = shared_jacobian(model, number)
        step(global_batch(number))
        found = gradients_of(model, before)
        for at, name in enumerate(names):
            lengths = [float(row[at].norm()) for row in rows]
            before_it = running.get(name, [0.0] * len(rows))
            running[name] = [0.9 * old + 0.1 * new for old, new in zip(before_it, lengths, strict=True)]
            means = [value / (1 - 0.9 ** (number + 1)) for value in running[name]]
            target = PLAIN.schema.tasks.index("rating")
            expected = sum(
                row[at] * (0.7 * means[target] / mean + 0.3 if mean else 1.0)
                for row, mean in zip(rows, means, strict=True)
            )
            torch.testing.assert_close(found[name], expected, rtol=0, atol=TOLERANCE)
