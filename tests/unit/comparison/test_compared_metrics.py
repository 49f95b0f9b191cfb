"""Every task type has metrics to be compared by, each with a good direction, whatever its settings."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from mtl_ray.comparison.result import compared_metrics
from mtl_ray.metrics import GREATER_IS_BETTER
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import TaskConfig

TYPES: tuple[Any, ...] = get_args(get_args(TaskConfig)[0])
NEEDED: dict[str, dict[str, Any]] = {
    "multiclass": {"classes": [1, 2, 3]},
    "next_item": {"user": ["user_id"], "item": ["item_id"]},
    "ordinal": {"classes": [1, 2, 3]},
    "watch_time": {"duration": "duration"},
}
QUANTILE = {"loss": {"name": "quantile", "level": 0.9}}


def compared(kind: Any, **settings: Any) -> tuple[str, ...]:
    name = kind.model_fields["type"].default
    config = kind.model_validate({**NEEDED.get(name, {}), **settings})
    metrics = config.build("task", LabelStatistics(observed=0)).metrics(True)
    known = [value for metric in metrics.values() for value in metric.compute()]
    found = compared_metrics(name, known)
    assert set(found) <= set(known) & set(GREATER_IS_BETTER)
    return found


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.model_fields["type"].default)
def test_every_type_is_compared(kind: Any) -> None:
    assert compared(kind)


def test_what_each_is_known_by_comes_first() -> None:
    by_name = {kind.model_fields["type"].default: kind for kind in TYPES}
    assert compared(by_name["binary"]) == ("roc_auc", "gauc", "log_loss")
    assert compared(by_name["multiclass"])[0] == "accuracy"
    assert compared(by_name["regression"]) == ("rmse", "r2")
    # A quantile has neither; coverage has no good direction.
    assert compared(by_name["regression"], **QUANTILE) == ("pinball",)
