"""What cannot be measured or grouped is refused before anything is built, and says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from mtl_ray.affinity import measure_affinity
from mtl_ray.affinity.run import check_steps, group_numbers
from mtl_ray.config import parse_config
from mtl_ray.errors import ConfigError
from tests.unit.config.test_balancing_config import TREE


def refused(groups: int | None = None, **changes: Any) -> str:
    tree = {**TREE, "training": {"affinity_every": 10}, **changes}
    with pytest.raises(ConfigError) as caught:
        measure_affinity(parse_config(tree), groups, lambda _: None, lambda _: None)
    return str(caught.value)


def tasks(number: int) -> dict[str, Any]:
    return {f"task_{at}": {"type": "binary"} for at in range(number)}


def test_one_task() -> None:
    assert "only one" in refused(tasks=tasks(1))
    with pytest.raises(ConfigError, match="2 to 12"):
        group_numbers(1, None)


def test_too_many_tasks() -> None:
    text = refused(tasks=tasks(13))
    assert "13 tasks" in text
    assert "2 to 12" in text


@pytest.mark.parametrize("groups", [-1, 0, 1, 3])
def test_groups_that_cannot_be(groups: int) -> None:
    text = refused(groups)
    assert "--groups" in text
    assert str(groups) in text
    assert "2 to 2" in text


def test_tasks_that_share_nothing() -> None:
    text = refused(model={"name": "single_task"})
    assert "model.name" in text
    assert "shared_bottom" in text


@pytest.mark.parametrize("every", [0, -1])
def test_every_is_at_least_one(every: int) -> None:
    assert "affinity_every" in refused(training={"affinity_every": every})


def test_without_measuring() -> None:
    assert "training.affinity_every" in refused(training={})


def test_too_few_measured_steps() -> None:
    check_steps(111, 10)
    with pytest.raises(ConfigError) as caught:
        check_steps(110, 10)
    assert "at most 9, for 12 measured steps" in str(caught.value)
    check_steps(110, 9)
    with pytest.raises(ConfigError, match="a longer training"):
        check_steps(11, 1)


def test_numbers_of_groups() -> None:
    assert group_numbers(2, None) == (2,)
    assert group_numbers(3, None) == (2, 3)
    assert group_numbers(9, None) == (2, 3, 4)
    assert group_numbers(9, 7) == (7,)
