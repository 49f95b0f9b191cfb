"""The cut of every architecture: nothing that tasks share is reached past it, and it changes no gradient."""

from __future__ import annotations

import torch

from mtl_ray.models import MultiTaskModel
from tests.unit.models.cases import Case, each_once


def gradients(
    model: MultiTaskModel, roots: list[torch.Tensor], given: list[torch.Tensor | None]
) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.autograd.backward(roots, given)
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@each_once
def test_handing_the_gradient_down_gives_the_plain_gradient(case: Case) -> None:
    model, batch = case.build().double(), case.set.batch(24, dtype=torch.float64)
    torch.manual_seed(1)
    (losses,) = case.totals(model, [batch])
    plain = gradients(model, [losses.sum()], [None])
    torch.manual_seed(1)
    with model.cut.taken():
        (losses,) = case.totals(model, [batch])
    leaves, below = model.cut.above, model.cut.below
    assert bool(leaves) == type(case.config).shares
    down = torch.autograd.grad(losses.sum(), leaves, retain_graph=True) if leaves else ()
    roots = [(tensor, part) for tensor, part in zip(below, down, strict=True) if tensor.requires_grad]
    found = gradients(model, [losses.sum(), *(root for root, _ in roots)], [None, *(part for _, part in roots)])
    assert found.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-12, msg=name)


@each_once
def test_no_task_reaches_a_shared_encoder_past_the_cut(case: Case) -> None:
    model, batch = case.build().double(), case.set.batch(24, dtype=torch.float64)
    with model.cut.taken():
        (losses,) = case.totals(model, [batch], auxiliary=False)
    if not type(case.config).shares:
        return
    found = gradients(model, [losses.sum()], [None])
    shared = {id(parameter) for parameter in model.shared_parameters()}
    of_encoders = {name for name, p in model.named_parameters() if name.startswith("encoders.") and id(p) in shared}
    assert of_encoders
    assert not of_encoders & found.keys()
    # Every task's gradient is there to be compared.
    with model.cut.taken():
        (losses,) = case.totals(model, [batch], auxiliary=False)
    for task in range(len(case.set.schema.tasks)):
        parts = torch.autograd.grad(losses[task], model.cut.above, retain_graph=True, allow_unused=True)
        assert any(part is not None and bool(part.abs().sum() > 0) for part in parts)
