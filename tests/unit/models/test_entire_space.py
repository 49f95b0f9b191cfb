"""Products of probabilities as logits: right where probabilities themselves have no digits left."""

from __future__ import annotations

import math

import pytest
import torch

from mtl_ray.models.entire_space import logit_of
from mtl_ray.models.sharing import ESMMConfig
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig
from tests.unit.models.task_sets import RATES, SERIAL, SERIAL_SCHEMA, make_serial_tasks


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_logit_of_a_log_probability(dtype: torch.dtype) -> None:
    logit = torch.tensor([-60.0, -20.0, -1.0, -1e-3, 0.0, 1e-3, 0.5, 3.0, 15.0], dtype=dtype)
    found = logit_of(torch.nn.functional.logsigmoid(logit))
    torch.testing.assert_close(found, logit, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-6)


def test_it_has_the_gradient_of_the_closed_form() -> None:
    log_p = torch.log(torch.tensor([1e-9, 0.1, 0.4, 0.5, 0.6, 0.9, 0.999], dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(logit_of, log_p)
    logit_of(log_p).sum().backward()
    # d logit / d log p = 1 / (1 - p)
    torch.testing.assert_close(log_p.grad, 1.0 / (1.0 - log_p.detach().exp()))


@pytest.mark.parametrize("log_p", [-1e30, -200.0, -1e-12, -1e-30, -1e-45, 0.0])
def test_it_is_finite_next_to_0_and_1(log_p: float) -> None:
    x = torch.tensor(log_p, requires_grad=True)
    value = logit_of(x)
    value.backward()
    assert x.grad is not None
    assert math.isfinite(float(value.detach()))
    assert math.isfinite(float(x.grad))


def test_products_of_tiny_probabilities_do_not_underflow() -> None:
    model = ESMMConfig(tower=()).build(SERIAL_SCHEMA, make_serial_tasks())
    with torch.no_grad():
        for name in ("click", "save", "cart", "purchase"):
            head = model.towers[f"task_{name}"].head
            head.weight.zero_()
            head.bias.fill_(-40.0)
    # Four factors of exp(-40): the product underflows float32, its logit is -160.
    logits = model(SERIAL.batch(3))
    torch.testing.assert_close(logits["purchase"], torch.full((3, 1), -160.0))
    torch.testing.assert_close(logits["save"], torch.full((3, 1), -80.0))


@pytest.mark.parametrize("weight", [1.0, "balanced", 4.0])
def test_an_untrained_model_predicts_the_base_rates_along_the_graph(weight: float | str) -> None:
    tasks = make_serial_tasks(positive_weight=weight)
    torch.manual_seed(0)
    logits = ESMMConfig(tower=()).build(SERIAL_SCHEMA, tasks)(SERIAL.batch(64))
    # Purchase needs save and cart: 0.3 * 0.4 * 0.2 = 0.024 of the rows get there, and 0.02 of them buy.
    for name, rate in RATES.items():
        predicted = tasks[name].predict(logits[name]).mean()
        torch.testing.assert_close(predicted, torch.tensor(rate), rtol=0.1, atol=0)


def test_a_rate_above_that_of_the_tasks_it_needs_starts_below_one() -> None:
    tasks = make_serial_tasks()
    tasks["save"] = BinaryTaskConfig(given=("click",)).build("save", LabelStatistics(observed=1000, mean=0.9))
    model = ESMMConfig(tower=()).build(SERIAL_SCHEMA, tasks)
    assert float(torch.sigmoid(model.towers["task_save"].head.bias.detach())) == pytest.approx(1.0 - 1e-4, abs=1e-6)


def test_a_purchase_is_never_likelier_than_what_it_needs() -> None:
    tasks = make_serial_tasks(positive_weight=5.0)
    torch.manual_seed(1)
    model = ESMMConfig(tower=()).build(SERIAL_SCHEMA, tasks)
    with torch.no_grad():
        for parameter in model.towers.parameters():
            parameter.normal_()
    logits = model(SERIAL.batch(200))
    rates = {name: tasks[name].predict(logits[name]) for name in RATES}
    for name in ("save", "cart"):
        assert (rates["purchase"] <= rates[name] * (1 + 1e-5)).all()
        assert (rates[name] <= rates["click"] * (1 + 1e-5)).all()
