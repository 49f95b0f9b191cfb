"""The task graph: what `given` may say, and what follows from it."""

from __future__ import annotations

import pytest

from mtl_ray.config import parse_config
from mtl_ray.errors import ConfigError
from mtl_ray.tasks import BinaryTaskConfig, RegressionTaskConfig, TaskSettings, check_tasks
from mtl_ray.tasks.graph import TaskGraph
from tests.unit.config.test_config import SMALL

DIAMOND = TaskGraph(
    ("purchase", "click", "value", "save", "cart"),
    {"purchase": ("cart", "save"), "save": ("click",), "cart": ("click",)},
)


def refused(**given: str | tuple[str, ...]) -> ConfigError:
    tasks: dict[str, TaskSettings] = {n: BinaryTaskConfig.model_validate({"given": g}) for n, g in given.items()}
    with pytest.raises(ConfigError) as caught:
        check_tasks(tasks)
    return caught.value


def test_one_task_or_many() -> None:
    assert BinaryTaskConfig().given == ()
    assert BinaryTaskConfig.model_validate({"given": None}).given == ()
    assert BinaryTaskConfig.model_validate({"given": "click"}).given == ("click",)
    assert RegressionTaskConfig.model_validate({"given": ["click", "cart"]}).given == ("click", "cart")
    with pytest.raises(ValueError, match="given"):
        BinaryTaskConfig.model_validate({"given": 3})


def test_it_survives_a_resolved_config() -> None:
    config = parse_config(
        {**SMALL, "tasks": {"click": {"type": "binary"}, "buy": {"type": "binary", "given": "click"}}}
    )
    assert config.tasks["buy"].given == ("click",)
    assert parse_config(config.model_dump(mode="json")) == config


def test_graphs_without_a_cycle_pass() -> None:
    tasks = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c", "a")}
    check_tasks({name: BinaryTaskConfig(given=given) for name, given in tasks.items()})


def test_an_unknown_task_is_refused_with_the_nearest() -> None:
    error = refused(click=(), purchase="clik")
    assert (error.where, error.found, error.allowed) == ("tasks.purchase.given", "clik", "click")
    assert error.fix == "write click"


def test_a_task_given_itself() -> None:
    error = refused(click="click", cart=())
    assert (error.where, error.found, error.allowed) == ("tasks.click.given", "click", "cart")


def test_a_task_named_twice() -> None:
    error = refused(click=(), cart=("click", "click"))
    assert (error.where, error.found, error.fix) == ("tasks.cart.given", "click, click", "write click once")


def test_a_cycle_is_spelled_out_in_the_direction_of_given() -> None:
    error = refused(x=(), a=("x", "b"), b="c", c="a")
    assert error.what == "given goes round in a circle."
    assert str(error.where).removeprefix("tasks.").removesuffix(".given") == str(error.found).split(" -> ")[0]
    assert str(error.found) in ("a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c")


def test_a_cycle_is_refused_when_the_config_is_read() -> None:
    tasks = {"click": {"type": "binary", "given": "buy"}, "buy": {"type": "binary", "given": "click"}}
    with pytest.raises(ConfigError, match="given goes round in a circle"):
        parse_config({**SMALL, "tasks": tasks})


def test_parents_ancestors_and_depth() -> None:
    assert DIAMOND.parents == ((4, 3), (), (), (1,), (1,))
    assert DIAMOND.edges == ((4, 0), (3, 0), (1, 3), (1, 4))
    for task, parents in enumerate(DIAMOND.parents):
        for parent in parents:
            assert DIAMOND.order.index(parent) < DIAMOND.order.index(task)
    assert sorted(DIAMOND.ancestors(0)) == [1, 3, 4]
    assert DIAMOND.ancestors(0)[0] == 1
    assert DIAMOND.ancestors(1) == ()
    assert [DIAMOND.depth(task) for task in range(5)] == [2, 0, 0, 1, 1]
    assert [DIAMOND.has_children(task) for task in range(5)] == [False, True, False, True, True]


def test_components_are_tasks_that_hang_together() -> None:
    assert DIAMOND.components() == ((0, 1, 3, 4), (2,))
    two_roots = TaskGraph("abcd", {"c": ("a", "b"), "d": ()})
    assert two_roots.components() == ((0, 1, 2), (3,))
