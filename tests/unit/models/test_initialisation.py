"""`model.init`: what each choice draws, and that it reaches the hidden layers and nothing else."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from mtl_ray.models.initialisation import HiddenLayers, Init, initialise_linear
from mtl_ray.models.settings import ModelSettings
from tests.unit.models.cases import MEMBERS, name_of
from tests.unit.models.task_sets import task_sets_of

INITS: tuple[Init, ...] = get_args(Init)


@pytest.mark.parametrize("init", [init for init in INITS if init != "orthogonal"])
@pytest.mark.parametrize(("rows", "columns"), [(400, 100), (100, 400)])
def test_the_variance_is_the_papers(init: Init, rows: int, columns: int) -> None:
    torch.manual_seed(0)
    weight = torch.empty(rows, columns)
    initialise_linear(weight, init)
    expected = 2 / columns if init.startswith("he") else 2 / (rows + columns)
    # 40,000 draws: the sample variance lies within 3 % of the true one.
    assert weight.var().item() == pytest.approx(expected, rel=0.03)
    assert abs(weight.mean().item()) < 4 * math.sqrt(expected / weight.numel())
    limit = math.sqrt(3 * expected)
    assert (weight.abs().max().item() <= limit * (1 + 1e-6)) == init.endswith("uniform")


def test_orthogonal_columns_keep_lengths() -> None:
    weight = torch.empty(30, 12, dtype=torch.float64)
    initialise_linear(weight, "orthogonal")
    torch.testing.assert_close(weight.T @ weight, 2 * torch.eye(12, dtype=torch.float64))


@pytest.mark.parametrize("member", MEMBERS, ids=[name_of(member.model_construct()) for member in MEMBERS])
def test_it_reaches_the_hidden_layers_alone(member: type[ModelSettings]) -> None:
    plain, chosen = member(tower=(6,)), member(tower=(6,), init="orthogonal")
    tasks = task_sets_of(plain)[0]
    models = []
    for config in (plain, chosen):
        torch.manual_seed(3)
        models.append(config.build(tasks.schema, tasks.tasks()))
    hidden = {
        f"{name}.{own}"
        for name, module in models[0].named_modules()
        if isinstance(module, HiddenLayers)
        for own, parameter in module.named_parameters()
        if parameter.ndim >= 2 and not own.startswith("out.")  # a gate unit's own start
    }
    assert hidden
    ours = dict(models[1].named_parameters())
    for name, parameter in models[0].named_parameters():
        assert torch.equal(parameter, ours[name]) == (name not in hidden), name


def test_an_unknown_choice_is_refused_with_the_list() -> None:
    with pytest.raises(ValidationError) as caught:
        MEMBERS[0].model_validate({"init": "lecun"})
    assert all(init in str(caught.value) for init in INITS)
