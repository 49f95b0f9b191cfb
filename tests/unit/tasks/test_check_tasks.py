"""Tasks that do not fit together are refused with the key, what was found, what is allowed and the remedy."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from mtl_ray.errors import ConfigError
from mtl_ray.tasks import (
    BinaryTaskConfig,
    MulticlassTaskConfig,
    RegressionTaskConfig,
    TaskConfig,
    TaskSettings,
    check_tasks,
)


def refused(tasks: dict[str, TaskSettings]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        check_tasks(tasks)
    assert caught.value.fix is not None
    return caught.value


def test_tasks_that_fit_pass() -> None:
    check_tasks(
        {
            "click": BinaryTaskConfig(),
            "purchase": BinaryTaskConfig(observed_when="click", weight=0.0),
            "order_value": RegressionTaskConfig(transform="log1p", observed_when="purchase"),
            "rating": MulticlassTaskConfig(classes=(1, 2), observed_when="purchase", label="stars"),
        }
    )


def test_no_task() -> None:
    error = refused({})
    assert (error.where, error.found, error.allowed) == ("tasks", "nothing", "at least one task")


@pytest.mark.parametrize("name", ["order value", "1st", "a__b", "_a", "a_", "größe", "", "a.b", "a/b", "click\n"])
def test_names_that_are_no_column_names(name: str) -> None:
    error = refused({name: BinaryTaskConfig()})
    assert (error.where, error.found) == (f"tasks.{name}", repr(name))
    assert "single underscores" in str(error.allowed)


@pytest.mark.parametrize("name", ["loss", "row_id", "event_timestamp", "sample_weight"])
def test_reserved_names(name: str) -> None:
    error = refused({name: BinaryTaskConfig()})
    assert error.what == "A task's name is reserved."
    assert name in str(error.allowed)


def test_nothing_to_learn() -> None:
    error = refused({"click": BinaryTaskConfig(weight=0.0), "cart": BinaryTaskConfig(weight=0.0)})
    assert (error.where, error.allowed) == ("tasks.click.weight, tasks.cart.weight", "a positive total")


def test_observed_when_names_no_task() -> None:
    error = refused({"click": BinaryTaskConfig(), "cart": BinaryTaskConfig(observed_when="clik")})
    assert (error.where, error.found, error.allowed) == ("tasks.cart.observed_when", "clik", "click")
    assert error.fix == "write click"


def test_observed_when_names_itself() -> None:
    error = refused({"click": BinaryTaskConfig(observed_when="click"), "cart": BinaryTaskConfig()})
    assert (error.where, error.found, error.allowed) == ("tasks.click.observed_when", "click", "cart")


def test_observed_when_names_a_task_without_a_zero() -> None:
    tasks = {"rating": MulticlassTaskConfig(classes=(1, 2)), "cart": BinaryTaskConfig(observed_when="rating")}
    error = refused(tasks)
    assert (error.where, error.allowed) == (
        "tasks.cart.observed_when",
        "a task whose label is a number, such as a binary one",
    )


def test_observed_when_goes_round_in_a_circle() -> None:
    error = refused(
        {
            "a": BinaryTaskConfig(observed_when="b"),
            "b": BinaryTaskConfig(observed_when="c"),
            "c": BinaryTaskConfig(observed_when="a"),
        }
    )
    assert (error.where, error.found) == ("tasks.a.observed_when", "a -> b -> c -> a")


@pytest.mark.parametrize("member", get_args(get_args(TaskConfig)[0]))
def test_every_type_is_chosen_by_its_name(member: type[TaskSettings]) -> None:
    kind = member.model_fields["type"].default
    needed = {"classes": [1, 2], "duration": "length", "user": ["user_id"], "item": ["item_id"]}
    data = {"type": kind, **{key: value for key, value in needed.items() if key in member.model_fields}}
    config = TypeAdapter(TaskConfig).validate_python(data)
    assert type(config) is member
    assert config.label_column("click") == "click"
    assert config.model_copy(update={"label": "is_click"}).label_column("click") == "is_click"


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_a_weight_outside_its_range_is_refused(weight: float) -> None:
    with pytest.raises(ValidationError, match="weight"):
        BinaryTaskConfig(weight=weight)
