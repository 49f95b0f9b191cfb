"""Parts of a model that do not learn."""

from __future__ import annotations

import pytest
import torch

from mtl_ray.errors import ConfigError
from mtl_ray.models import MultiTaskModel
from mtl_ray.models.sharing import MMoEConfig
from mtl_ray.optim import OptimizerConfig, ScheduleConfig, build_optimizer, build_schedule
from mtl_ray.training.frozen import freeze
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import StaticWeightingConfig, WeightingContext
from tests.random_batch import SCHEMA, make_tasks, random_batch


def build() -> MultiTaskModel:
    torch.manual_seed(0)
    return MMoEConfig(num_experts=2, expert=(6,), tower=(4,)).build(SCHEMA, make_tasks())


def refused(*prefixes: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        freeze(build(), prefixes)
    assert caught.value.where == "training.frozen"
    return caught.value


def test_a_step_moves_all_but_what_is_frozen() -> None:
    frozen = ("encoders", "sharing.experts", "towers.task_click.head.bias")
    model, tasks = build(), make_tasks()
    freeze(model, frozen)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = build_optimizer(OptimizerConfig(weight_decay=0.1, embedding_weight_decay=0.1), model)
    schedule = build_schedule(ScheduleConfig(), optimizer, 2)
    weighting = StaticWeightingConfig().build(WeightingContext(dict.fromkeys(tasks, 1.0)))
    step = TrainStep(model, tasks, weighting, optimizer, schedule, 1.0, "fp32", torch.device("cpu"))
    step(random_batch(32))
    for name, value in model.state_dict().items():
        rests = name.startswith(("encoders.", "sharing.experts.")) or name == "towers.task_click.head.bias"
        assert torch.equal(value, before[name]) == rests, name
    learning = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert learning == {id(p) for p in model.parameters() if p.requires_grad}


def test_a_name_that_no_parameter_has_is_refused_with_the_nearest() -> None:
    error = refused("sharing.expert")
    assert (error.found, error.fix) == ("sharing.expert", "did you mean sharing.experts?")
    assert "sharing.experts" in str(error.allowed)
    assert refused("encoder").fix == "did you mean encoders?"
    assert refused("towers", "towers.task_clic").fix == "did you mean towers.task_click?"


def test_nothing_left_to_train_is_refused() -> None:
    assert refused("encoders", "sharing", "towers").found == "encoders, sharing, towers"


def test_nothing_to_freeze() -> None:
    model = build()
    freeze(model, ())
    assert all(parameter.requires_grad for parameter in model.parameters())
