"""Twins: the same way through the network, one task; and configs that cannot be compared."""

from __future__ import annotations

from typing import Any

import pytest

from mtl_ray.comparison.one_training_set import check_one_training_set
from mtl_ray.comparison.twins import single_task, twin_of
from mtl_ray.errors import ConfigError
from mtl_ray.models.sharing import SingleTaskConfig
from tests.unit.comparison.configs import config
from tests.unit.models.cases import MEMBERS


def test_a_twin_has_the_task_alone_and_everything_else_alike() -> None:
    whole = config()
    twin = twin_of(whole, "value")
    assert twin.name == "both-twin_value"
    assert list(twin.tasks) == ["value"]
    task = twin.tasks["value"]
    assert (task.observed_when, task.given, task.weight, task.label) == (None, (), 1.0, "amount")
    assert isinstance(twin.model, SingleTaskConfig)
    assert (twin.model.bottom, twin.model.tower) == ((32, 16, 8), (4,))
    assert (twin.model.dropout, twin.model.activation, twin.model.encoder) == (0.1, "gelu", whole.model.encoder)
    assert twin.training.early_stopping.metric == "validation/loss"
    assert twin.training.frozen == ()
    own = {"early_stopping": None, "frozen": ()}
    assert twin.training.model_copy(update=own) == whole.training.model_copy(update=own)
    assert (twin.evaluation.truth, twin.evaluation.group_by) == (None, "user_id")
    assert (twin.features, twin.training_set, twin.seed) == (whole.features, whole.training_set, whole.seed)
    assert twin_of(whole, "click").training.early_stopping.metric == "validation/click/roc_auc"


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.model_fields["name"].default)
def test_every_architecture_has_a_way_that_a_twin_can_follow(member: Any) -> None:
    model = SingleTaskConfig.model_validate(single_task(member()))
    assert model.encoder == member().encoder
    assert model.bottom


def test_a_model_of_towers_alone_lends_its_twin_their_first_layer() -> None:
    esmm = next(member for member in MEMBERS if member.model_fields["name"].default == "esmm")
    model = SingleTaskConfig.model_validate(single_task(esmm(bottom=(), tower=(20, 10))))
    assert (model.bottom, model.tower) == ((20,), (10,))


def test_no_twin_of_a_task_whose_rows_another_one_sampled() -> None:
    split = {"by": "time", "validation": 0.1, "test": 0.1}
    sampled = {"spine": "spine", "split": split, "negative_sampling": {"task": "click", "keep": 0.5}}
    whole = config(training_set=sampled)
    assert list(twin_of(whole, "click").tasks) == ["click"]
    with pytest.raises(ConfigError, match="There is no twin of value") as caught:
        twin_of(whole, "value")
    assert "training_set.negative_sampling.task" in str(caught.value)


def test_configs_of_one_training_set_may_differ_in_what_is_learnt_from_it() -> None:
    tasks = {"click": {"type": "binary", "weight": 3.0, "threshold": 0.2}, "value": config().tasks["value"]}
    other = config("other", model={"name": "shared_bottom"}, training={"epochs": 9}, tasks=tasks, seed=3)
    check_one_training_set([config(), other])


@pytest.mark.parametrize(
    ("changes", "where", "found"),
    [
        (
            {"features": {"repo": "repo", "service": "ranking_v2", "keys": ["user_id"]}},
            "features.service",
            "'ranking_v1' in both, 'ranking_v2' in other",
        ),
        (
            {"training_set": {"spine": "spine", "split": {"by": "time", "validation": 0.2, "test": 0.1}}},
            "training_set.split.validation",
            "0.1 in both, 0.2 in other",
        ),
        ({"tasks": {"click": {"type": "binary"}}, "training": {}}, "tasks", "'click, value' in both, 'click' in other"),
        (
            {"tasks": {"click": {"type": "binary", "label": "buy"}, "value": {"type": "regression"}}},
            "tasks.click.label",
            "'click' in both, 'buy' in other",
        ),
        ({"evaluation": {"group_by": None}}, "evaluation.group_by", "'user_id' in both, None in other"),
    ],
)
def test_other_training_sets_are_told_by_what_differs(changes: dict[str, Any], where: str, found: str) -> None:
    with pytest.raises(ConfigError, match="different training sets") as caught:
        check_one_training_set([config(), config("other", **changes)])
    assert caught.value.where == where
    assert found in str(caught.value)


def test_two_configs_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="same name"):
        check_one_training_set([config(), config(model={"name": "shared_bottom"})])
