"""A config with a next-item task: what stands in it together, and its single-task twin."""

from __future__ import annotations

from typing import Any

import pytest

from mtl_ray.comparison.result import compared_metrics
from mtl_ray.comparison.twins import twin_of
from mtl_ray.config import Config, parse_config
from mtl_ray.errors import ConfigError
from mtl_ray.tasks import NextItemTaskConfig

NEXT = {"type": "next_item", "label": "click", "user": ["user_id", "recent"], "item": ["item_id"]}


def parsed(**changes: Any) -> Config:
    tree = {
        "name": "retrieval",
        "features": {"repo": "feature_repo", "service": "s"},
        "training_set": {"spine": "spine", "split": {"by": "time", "validation": 0.1, "test": 0.1}},
        "tasks": {"click": {"type": "binary"}, "buy": {"type": "binary", "given": "click"}, "next": NEXT},
        "model": {"name": "esmm"},
        "evaluation": {"group_by": "user_id"},
    }
    return parse_config({**tree, **changes})


@pytest.mark.parametrize(
    "model",
    [
        {"name": "esmm"},
        {"name": "home", "groups": [["click"], ["buy"]]},
        {"name": "hierarchical", "trunk": [8, 8], "exits": {"click": 1, "buy": 2}},
    ],
    ids=lambda model: str(model["name"]),
)
def test_the_architecture_is_of_the_other_tasks(model: dict[str, Any]) -> None:
    task = parsed(model=model).tasks["next"]
    assert isinstance(task, NextItemTaskConfig)
    assert (task.dim, task.temperature, task.correct_popularity) == (32, 0.1, True)


def test_training_may_stop_by_its_order_or_its_loss() -> None:
    for metric in ("loss", "roc_auc", "gauc"):
        stopping = parsed(training={"early_stopping": {"metric": f"validation/next/{metric}"}}).training.early_stopping
        assert stopping.greater_is_better == (metric != "loss")
    with pytest.raises(ConfigError, match="Unknown metric for early stopping"):
        parsed(training={"early_stopping": {"metric": "validation/next/log_loss"}})


def test_alone_it_is_a_single_task_model() -> None:
    assert list(parsed(tasks={"next": NEXT}, model={"name": "single_task"}).tasks) == ["next"]
    with pytest.raises(ConfigError, match=r"mmoe has no task(.|\n)*model\.name=single_task"):
        parsed(tasks={"next": NEXT}, model={"name": "mmoe"})


def test_its_twin_is_that() -> None:
    twin = twin_of(parsed(), "next")
    assert (list(twin.tasks), twin.model.name) == (["next"], "single_task")
    assert compared_metrics("next_item", ("roc_auc", "pr_auc", "gauc")) == ("roc_auc", "gauc")


@pytest.mark.parametrize("missing", ["user", "item"])
def test_both_sets_are_needed(missing: str) -> None:
    fields = {key: value for key, value in NEXT.items() if key != missing}
    with pytest.raises(ConfigError, match=rf"tasks\.next.*{missing}"):
        parsed(tasks={"click": {"type": "binary"}, "next": fields}, model={"name": "mmoe"})


def test_a_task_that_is_given_it_is_refused() -> None:
    tasks = {"click": {"type": "binary"}, "buy": {"type": "binary", "given": ["click", "next"]}, "next": NEXT}
    with pytest.raises(ConfigError, match=r"tasks\.buy\.given(.|\n)*observed_when"):
        parsed(tasks=tasks)
