"""Which ranking scores a config can declare."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mtl_ray.errors import ConfigError
from mtl_ray.fusion import FusionConfig
from mtl_ray.fusion.config import check_fusion
from mtl_ray.tasks import BinaryTaskConfig, MulticlassTaskConfig, RegressionTaskConfig, TaskConfig

TASKS: dict[str, TaskConfig] = {
    "click": BinaryTaskConfig(),
    "purchase": BinaryTaskConfig(),
    "rating": MulticlassTaskConfig(classes=(1, 2, 3)),
    "price": RegressionTaskConfig(),
}


def config(**fields: object) -> FusionConfig:
    return FusionConfig.model_validate({"weights": {"click": 1.0, "price": 0.5}, **fields})


def test_a_score_of_numbers_is_accepted() -> None:
    check_fusion(config(tune={"metric": "validation/purchase/gauc"}), TASKS, grouped=True)
    check_fusion(
        config(tune={"metric": {"validation/click/roc_auc": 1, "validation/purchase/roc_auc": 2}}), TASKS, False
    )


@pytest.mark.parametrize(
    ("fields", "grouped", "where", "fix"),
    [
        ({"weights": {"clicks": 1.0}}, True, "fusion.weights.clicks", "did you mean click?"),
        ({"weights": {"rating": 1.0}}, True, "fusion.weights.rating", "leave the task out"),
        ({"tune": {"metric": "validation/click/auc"}}, True, "fusion.tune.metric", "did you mean"),
        ({"tune": {"metric": "validation/price/rmse"}}, True, "fusion.tune.metric", "validation/"),
        ({"tune": {"metric": "validation/click/gauc"}}, False, "fusion.tune.metric", "evaluation.group_by"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, object], grouped: bool, where: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_fusion(config(**fields), TASKS, grouped)
    assert where in str(caught.value)
    assert fix in str(caught.value)


def test_a_task_called_score_is_refused_beside_a_score() -> None:
    with pytest.raises(ConfigError, match=r"tasks\.score"):
        check_fusion(config(weights={"score": 1.0}), {"score": BinaryTaskConfig()}, grouped=False)


@pytest.mark.parametrize(
    "fields",
    [
        {"weights": {}},
        {"weights": {"click": 0.0}},
        {"weights": {"click": float("nan")}},
        {"formula": "max"},
        {"tune": {"metric": {}}},
        {"tune": {"metric": "validation/click/gauc", "trials": 0}},
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        config(**fields)
