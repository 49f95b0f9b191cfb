"""Weightings and aggregations that do not go with the model or the tasks are refused before anything is built."""

from __future__ import annotations

from typing import Any

import pytest

from mtl_ray.config import parse_config
from mtl_ray.errors import ConfigError

TREE: dict[str, Any] = {
    "name": "small",
    "features": {"repo": "feature_repo", "service": "s_v1"},
    "training_set": {"spine": "spine", "split": {"by": "time", "validation": 0.1, "test": 0.1}},
    "model": {"name": "mmoe"},
    "tasks": {"click": {"type": "binary"}, "cart": {"type": "binary"}},
}


def refused(**changes: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_config({**TREE, **changes})
    return caught.value


def test_the_default_is_the_plain_sum() -> None:
    config = parse_config(TREE)
    assert config.aggregation.name == "sum"
    assert config.weighting.name == "static"


@pytest.mark.parametrize("key", ["aggregation", "weighting"])
def test_tasks_that_share_nothing_cannot_be_compared(key: str) -> None:
    leaf = {"name": "pcgrad"} if key == "aggregation" else {"name": "gradnorm"}
    error = refused(model={"name": "single_task"}, **{key: leaf})
    text = str(error)
    assert f"{key}.name" in text
    assert leaf["name"] in text
    for name in ("shared_bottom", "mmoe", "ple", "soft_sharing"):
        assert name in text
    assert "single_task" in text
    allowed = text.split("allowed:")[1].split("\n")[0]
    assert "single_task" not in allowed
    parse_config({**TREE, key: leaf})


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    text = str(refused(aggregation={"name": "pcgard"}))
    assert "did you mean pcgrad?" in text
    text = str(refused(weighting={"name": "grad_norm"}))
    assert "did you mean gradnorm?" in text


def test_metabalance_names_a_task() -> None:
    text = str(refused(aggregation={"name": "metabalance", "target": "carts"}))
    assert "did you mean cart?" in text


def test_a_schedule_names_tasks() -> None:
    text = str(refused(weighting={"name": "schedule", "factors": {"clik": {0: 1.0}}}))
    assert "did you mean click?" in text


def test_a_step_in_parts_is_refused_where_the_whole_batch_counts() -> None:
    error = refused(model={"name": "mmoe", "norm": "batch"}, training={"accumulate": 2})
    assert "training.accumulate" in str(error)
    assert "model.norm=layer" in str(error)
    tasks = {**TREE["tasks"], "next": {"type": "next_item", "label": "click", "user": ["a"], "item": ["item_id"]}}
    assert "tasks.next" in str(refused(tasks=tasks, training={"accumulate": 2}))
    parse_config({**TREE, "training": {"accumulate": 2}})


def test_affinity_is_between_tasks_that_share() -> None:
    measured = {"affinity_every": 5}
    assert parse_config({**TREE, "training": measured}).training.affinity_every == 5
    assert parse_config(TREE).training.affinity_every is None
    assert "model.name" in str(refused(model={"name": "single_task"}, training=measured))
    assert "only one" in str(refused(tasks={"click": {"type": "binary"}}, training=measured))
    parse_config({**TREE, "model": {"name": "single_task"}})
