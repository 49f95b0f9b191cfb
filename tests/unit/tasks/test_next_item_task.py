"""What a next-item task reads, counts and predicts, and which configs are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from mtl_ray.errors import ConfigError, DataError
from mtl_ray.fusion import FusionConfig
from mtl_ray.fusion.config import check_fusion
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, NextItemTask, NextItemTaskConfig, TaskConfig, check_tasks
from mtl_ray.tasks.check import in_architecture
from mtl_ray.tasks.losses import task_losses, validation_losses
from mtl_ray.tasks.next_item import joined
from tests.random_batch import random_batch


def config(**fields: object) -> NextItemTaskConfig:
    return NextItemTaskConfig.model_validate({"user": ("user_id",), "item": ("item_id",), "dim": 3, **fields})


def build(**fields: object) -> NextItemTask:
    return config(**fields).build("next", LabelStatistics(observed=0))


def logits(rows: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    user, item = (torch.randn(rows, 3, generator=random, dtype=torch.float64) for _ in range(2))
    return joined(user, item, torch.randint(0, 4, (rows,), generator=random))


def test_labels_are_zeros_and_ones() -> None:
    found = config().encode_labels(pa.chunked_array([[1, 0, None]]), "click")
    np.testing.assert_array_equal(found, [1.0, 0.0, np.nan])
    with pytest.raises(DataError, match=r"column click, row 1(.|\n)*2(.|\n)*write 1 where the user took"):
        config().encode_labels(pa.chunked_array([[1, 2]]), "click")


def test_predictions_are_cosines_over_the_temperature() -> None:
    values = logits(6)
    cosine = torch.cosine_similarity(values[:, :3], values[:, 3:6])
    torch.testing.assert_close(build(temperature=0.25).predict(values), cosine / 0.25)


@pytest.mark.parametrize("grouped", [True, False])
def test_metrics_are_of_the_order_alone(grouped: bool) -> None:
    metrics = build().metrics(grouped)
    names = {name for metric in metrics.values() for name in metric.compute()}
    assert names == {"roc_auc", "pr_auc"} | ({"gauc"} if grouped else set())


def one_task(rows: int) -> tuple[Any, dict[str, NextItemTask]]:
    batch = random_batch(rows, dtype=torch.float64)
    batch.labels[:, 0] = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 0.0] * (rows // 6), dtype=torch.float64)
    batch.observed[:, 0] = torch.tensor([True, True, True, False, True, True] * (rows // 6))
    return batch, {"next": build()}


@pytest.mark.parametrize("losses", [task_losses, validation_losses])
def test_losses_are_means_over_queries(losses: Any) -> None:
    batch, tasks = one_task(6)
    values = {"next": logits(6)}
    (total,), (weight,), _ = losses(values, batch, tasks)
    queries = [0, 1, 4]
    of_queries = tasks["next"].loss(values["next"][queries], torch.ones(3))
    torch.testing.assert_close(total, torch.dot(of_queries, batch.sample_weight[queries]))
    torch.testing.assert_close(weight, batch.sample_weight[queries].sum())


def test_rows_without_a_label_are_no_candidates_whatever_stands_there() -> None:
    """As padding, which repeats the labels of another row."""
    batch, tasks = one_task(6)
    values = logits(6)
    (total,), _, _ = task_losses({"next": values}, batch, tasks)
    changed = values.clone()
    changed[3] = logits(6, seed=9)[3]
    assert not torch.equal(changed, values)
    (same,), _, _ = task_losses({"next": changed}, batch, tasks)
    assert torch.equal(same, total)


def test_one_item_alone_has_nothing_to_be_told_from() -> None:
    values = logits(6).requires_grad_()
    same = torch.cat([values[:, :6], torch.ones(6, 1, dtype=torch.float64)], dim=1)
    loss = build().loss(same, torch.ones(6))
    torch.testing.assert_close(loss, torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-12)
    loss.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad, torch.zeros_like(values), rtol=0, atol=1e-12)


TASKS: dict[str, TaskConfig] = {"click": BinaryTaskConfig(), "next": config(label="click")}


def test_it_stands_beside_the_architecture() -> None:
    check_tasks(TASKS)
    assert list(in_architecture(TASKS)) == ["click"]


@pytest.mark.parametrize(
    ("fields", "where", "message"),
    [
        ({"user": ("user_id", "item_id")}, "tasks.next.user and tasks.next.item", "both the user's and the item's"),
        ({"item": ("item_id", "item_id")}, "tasks.next.item", "write item_id once"),
        ({"given": "click"}, "tasks.next.given", "no place in its task graph"),
    ],
)
def test_configs_that_do_not_fit_are_refused(fields: dict[str, object], where: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_tasks({**TASKS, "next": config(label="click", **fields)})
    assert f"where:   {where}" in str(caught.value)
    assert message in str(caught.value)


def test_no_task_is_given_it() -> None:
    with pytest.raises(ConfigError, match=r"tasks\.buy\.given"):
        check_tasks({**TASKS, "buy": BinaryTaskConfig(given=("next",))})


@pytest.mark.parametrize("fields", [{"user": ()}, {"item": ()}, {"dim": 0}, {"temperature": 0.0}])
def test_values_out_of_range_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        config(**fields)


def test_a_product_of_predictions_has_no_place_for_a_score() -> None:
    weights = {"click": 1.0, "next": 0.5}
    check_fusion(FusionConfig(formula="sum", weights=weights), TASKS, grouped=False)
    with pytest.raises(ConfigError, match=r"fusion\.weights\.next(.|\n)*fusion\.formula=sum"):
        check_fusion(FusionConfig(formula="product", weights=weights), TASKS, grouped=False)
