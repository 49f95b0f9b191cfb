"""The optimizer's groups and the schedule's shape."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mtl_ray.models.sharing import MMoEConfig
from mtl_ray.optim import OptimizerConfig, ScheduleConfig, build_optimizer, build_schedule
from tests.random_batch import SCHEMA, make_tasks, random_batch


def learning_rates(config: ScheduleConfig, total_steps: int, steps: int | None = None) -> list[float]:
    """The learning rate of each step, from a base of 2."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = build_schedule(config, optimizer, total_steps)
    rates = []
    for _ in range(steps or total_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_linear_decay_after_warmup() -> None:
    config = ScheduleConfig(decay="linear", warmup_steps=4, final_fraction=0.5)
    expected = [0.5, 1.0, 1.5, 2.0, 2.0, 1.8, 1.6, 1.4, 1.2, 1.0, 1.0]
    assert learning_rates(config, total_steps=9, steps=11) == pytest.approx(expected)


def test_cosine_decay() -> None:
    config = ScheduleConfig(decay="cosine", final_fraction=0.1)
    expected = [2 * (0.1 + 0.9 * (1 + math.cos(math.pi * step / 10)) / 2) for step in range(10)]
    assert learning_rates(config, total_steps=10) == pytest.approx(expected)
    assert learning_rates(config, total_steps=10, steps=15)[10:] == pytest.approx([0.2] * 5)


def test_constant_after_warmup_by_fraction() -> None:
    config = ScheduleConfig(decay="constant", warmup_fraction=0.25)
    assert learning_rates(config, total_steps=10) == pytest.approx([2 / 3, 4 / 3, 2] + [2] * 7)


@pytest.mark.parametrize("total_steps", [1, 2])
def test_runs_shorter_than_the_warmup(total_steps: int) -> None:
    rates = learning_rates(ScheduleConfig(warmup_steps=100), total_steps)
    assert rates == pytest.approx([2 * (step + 1) / total_steps for step in range(total_steps)])


def test_two_ways_to_say_warmup_are_refused() -> None:
    with pytest.raises(ValueError, match=r"not both; found warmup_steps=5 and warmup_fraction=0.1"):
        ScheduleConfig(warmup_steps=5, warmup_fraction=0.1)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("learning_rate", 0.0, "greater than 0"),
        ("weight_decay", -0.1, "greater than or equal to 0"),
        ("betas", (0.9, 1.0), r"at least 0 and below 1, found \[0.9, 1.0\]"),
        ("name", "sgd", "adamw"),
    ],
)
def test_values_out_of_range_are_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimizerConfig.model_validate({key: value})


def test_groups_have_their_rates_and_decays() -> None:
    model = MMoEConfig(num_experts=2, expert=(8,)).build(SCHEMA, make_tasks())
    config = OptimizerConfig(
        learning_rate=0.1, embedding_learning_rate=0.3, weight_decay=0.01, embedding_weight_decay=0.02
    )
    optimizer = build_optimizer(config, model)
    found = {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert found == {"matrices": (0.1, 0.01), "vectors": (0.1, 0.0), "embeddings": (0.3, 0.02)}
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())


def test_a_weighting_has_a_group_without_decay_and_frozen_parameters_have_none() -> None:
    model = MMoEConfig(num_experts=2, expert=(8,)).build(SCHEMA, make_tasks())
    for parameter in model.embedding_parameters():
        parameter.requires_grad_(False)
    learnt = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    config = OptimizerConfig(learning_rate=0.1, weight_decay=0.01)
    for rate in (None, 0.5):
        groups = build_optimizer(config, model, [learnt], rate).param_groups
        assert [group["name"] for group in groups] == ["matrices", "vectors", "weighting"]
        assert (groups[-1]["lr"], groups[-1]["weight_decay"]) == (rate or 0.1, 0.0)
        assert groups[-1]["params"][0] is learnt


def test_embeddings_have_the_common_rate_by_default() -> None:
    model = MMoEConfig(num_experts=2, expert=(8,)).build(SCHEMA, make_tasks())
    optimizer = build_optimizer(OptimizerConfig(learning_rate=0.1), model)
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_equal_the_published_algorithm(dtype: torch.dtype) -> None:
    """Algorithm 2 of Loshchilov and Hutter (ICLR 2019), parameter by parameter."""
    torch.manual_seed(0)
    model = MMoEConfig(num_experts=2, expert=(8,), tower=(4,)).build(SCHEMA, make_tasks()).to(dtype)
    config = OptimizerConfig(learning_rate=0.01, embedding_learning_rate=0.02, weight_decay=0.1, betas=(0.8, 0.9))
    optimizer = build_optimizer(config, model)
    tables = {id(table) for table in model.embedding_parameters()}
    expected = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    moments = {name: [torch.zeros_like(value), torch.zeros_like(value)] for name, value in expected.items()}
    for step in range(1, 4):
        optimizer.zero_grad()
        logits = model(random_batch(16, seed=step, dtype=dtype))
        sum(logit.square().sum() for logit in logits.values()).backward()  # type: ignore[union-attr]
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            first, second = moments[name]
            first.mul_(0.8).add_(0.2 * parameter.grad)
            second.mul_(0.9).add_(0.1 * parameter.grad**2)
            rate = 0.02 if id(parameter) in tables else 0.01
            decay = 0.1 if parameter.ndim >= 2 and id(parameter) not in tables else 0.0
            update = (first / (1 - 0.8**step)) / ((second / (1 - 0.9**step)).sqrt() + 1e-8)
            expected[name] -= rate * decay * expected[name] + rate * update
        optimizer.step()
    for name, parameter in model.named_parameters():
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=0, atol=tolerance)
