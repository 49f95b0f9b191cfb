"""A training set for some of its tasks: their labels and inputs, in their order, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from mtl_ray.data.narrowing import check_narrowing, narrowed, narrowed_statistics
from mtl_ray.data.packing import packed
from mtl_ray.data.tensors import to_batch
from mtl_ray.errors import ConfigError
from mtl_ray.schema import BatchSchema, LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, MulticlassTaskConfig, RegressionTaskConfig

ROWS = 6
STORED = BatchSchema(
    vocabularies={}, numeric=("price",), tasks=("click", "rating", "value"), task_inputs=("quality", "worth")
)
TASKS: dict[str, Any] = {
    "value": RegressionTaskConfig(sample_weight="worth"),
    "click": BinaryTaskConfig(),
}


def table() -> pa.Table:
    """Label 10 r + column in row r."""
    labels = (10.0 * np.arange(ROWS)[:, None] + np.arange(3)).astype(np.float32)
    inputs = (100.0 * np.arange(ROWS)[:, None] + np.arange(2)).astype(np.float32)
    return pa.table(
        {
            "numeric": packed(np.ones((ROWS, 1), dtype=np.float32)),
            "labels": packed(labels),
            "observed": packed((np.arange(3 * ROWS).reshape(ROWS, 3) % 2).astype(np.uint8)),
            "task_inputs": packed(inputs),
            "sample_weight": np.ones(ROWS, dtype=np.float32),
            "row_id": np.arange(ROWS),
        }
    )


def test_a_batch_has_the_wanted_tasks_in_their_order() -> None:
    schema = narrowed(STORED, TASKS)
    assert (schema.tasks, schema.task_inputs) == (("value", "click"), ("worth",))
    batch, whole = to_batch(table(), schema, STORED), to_batch(table(), STORED)
    assert torch.equal(batch.labels, whole.labels[:, [2, 0]])
    assert torch.equal(batch.observed, whole.observed[:, [2, 0]])
    assert batch.labels[3].tolist() == [32.0, 30.0]
    assert list(batch.task_inputs) == ["worth"]
    assert torch.equal(batch.task_inputs["worth"], whole.task_inputs["worth"])
    assert batch.task_inputs["worth"][2] == 201.0
    assert torch.equal(batch.numeric, whole.numeric)


def test_all_tasks_are_the_batch_as_it_is() -> None:
    every: dict[str, Any] = {
        "click": BinaryTaskConfig(sample_weight="quality"),
        "rating": MulticlassTaskConfig(classes=(1, 2)),
        "value": RegressionTaskConfig(sample_weight="worth"),
    }
    assert narrowed(STORED, every) == STORED
    batch, whole = to_batch(table(), STORED, STORED), to_batch(table(), STORED)
    assert torch.equal(batch.labels, whole.labels)
    assert batch.task_inputs.keys() == whole.task_inputs.keys()


def statistics(**click: float) -> dict[str, LabelStatistics]:
    return {
        "click": LabelStatistics(observed=9, mean=0.3, **click),
        "rating": LabelStatistics(observed=9, class_counts=(4, 5)),
        "value": LabelStatistics(observed=9, mean=3.0, transformed_mean=3.0, transformed_std=1.0),
    }


class Manifest:
    """What of a manifest is read."""

    def __init__(self, **click: float) -> None:
        self.id = "0123456789abcdef"
        self.label_statistics = statistics(**click)
        self.join_keys = ("user_id",)
        self.group_by = "session"


def checked(tasks: dict[str, Any], group_by: str | None = None, **click: float) -> None:
    manifest: Any = Manifest(**click)
    check_narrowing(manifest, tasks, group_by)


def test_statistics_follow() -> None:
    manifest: Any = Manifest()
    found = narrowed_statistics(manifest, TASKS)
    assert list(found) == ["value", "click"]
    assert found["value"] == statistics()["value"]


def test_what_fits_is_let_through() -> None:
    for group_by in (None, "user_id", "session"):
        checked(TASKS, group_by)
    # The sampled task itself is there to correct by.
    checked(TASKS, negative_keep=0.1)


@pytest.mark.parametrize(
    ("tasks", "changes", "message", "found"),
    [
        ({"cart": BinaryTaskConfig()}, {}, "has no labels of a task", "tasks.cart"),
        (
            {"rating": MulticlassTaskConfig(classes=(1, 2, 3))},
            {},
            "built for other classes",
            "3 classes",
        ),
        ({"click": MulticlassTaskConfig(classes=(0, 1))}, {}, "built for other classes", "no classes"),
        ({"value": TASKS["value"]}, {"negative_keep": 0.5}, "sampled by the label of click", "tasks value"),
        ({"value": TASKS["value"]}, {"positive_repeat": 2.0}, "sampled by the label of click", "train click as well"),
        (TASKS, {"group_by": "country"}, "does not hold the column to group by", "user_id, session"),
    ],
)
def test_what_does_not_fit_is_told(tasks: dict[str, Any], changes: dict[str, Any], message: str, found: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        checked(tasks, **changes)
    assert found in str(caught.value)
