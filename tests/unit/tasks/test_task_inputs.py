"""What tasks read beside their labels: which columns, which values, and what they do to losses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from mtl_ray.data.label_statistics import label_statistics
from mtl_ray.data.labels import Labels, label_counts, label_summary
from mtl_ray.data.task_inputs import encode_task_inputs, size_cells
from mtl_ray.errors import DataError
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, RegressionTaskConfig, TaskConfig, ValueTaskConfig, WatchTimeTaskConfig
from mtl_ray.tasks.losses import task_losses, validation_losses
from tests.random_batch import SCHEMA, make_tasks, random_batch


def test_columns_of_each_kind() -> None:
    assert BinaryTaskConfig().input_columns() == ()
    weighted = BinaryTaskConfig(sample_weight="value")
    assert (weighted.input_columns(), weighted.prediction_columns()) == (("value",), ())
    counted = RegressionTaskConfig.model_validate({"loss": "poisson", "offset": "exposure", "sample_weight": "w"})
    assert (counted.input_columns(), counted.prediction_columns()) == (("w", "exposure"), ("exposure",))
    watched = WatchTimeTaskConfig(duration="length", sample_weight="length")
    assert (watched.input_columns(), watched.statistics_input()) == (("length",), "length")


@pytest.mark.parametrize(
    ("config", "column", "bad", "found"),
    [
        (BinaryTaskConfig(sample_weight="w"), "w", -1.0, "-1, and 1 more rows"),
        (BinaryTaskConfig(sample_weight="w"), "w", math.nan, "missing, and 1 more rows"),
        (RegressionTaskConfig.model_validate({"loss": "poisson", "offset": "w"}), "w", math.nan, "missing, and 1 more"),
        (WatchTimeTaskConfig(duration="w"), "w", -0.5, "-0.5, and 1 more rows"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_where_the_label_is_observed(
    config: TaskConfig, column: str, bad: float, found: str
) -> None:
    values = np.array([1.0, 0.0, bad, bad, 2.0], dtype=np.float32)
    with pytest.raises(DataError) as caught:
        config.check_inputs(column, values, np.ones(5, dtype=bool))
    assert caught.value.where == "column w, row 2"
    assert str(caught.value.found).startswith(found)
    config.check_inputs(column, values, np.array([True, True, False, False, True]))


def test_a_watch_time_without_duration_is_allowed() -> None:
    WatchTimeTaskConfig(duration="w").check_inputs("w", np.array([math.nan, 3.0]), np.ones(2, dtype=bool))


def test_a_tasks_own_weight_multiplies_its_rows_in_both_losses() -> None:
    batch = random_batch(50, seed=2, dtype=torch.float64)
    tasks = make_tasks()
    weight = torch.rand(50, dtype=torch.float64)
    # Not observed, so it does not count.
    weight[~batch.observed[:, 0]] = math.nan
    logits = {name: torch.randn(50, task.num_outputs, dtype=torch.float64) for name, task in tasks.items()}
    plain = random_batch(50, seed=2, dtype=torch.float64)
    tasks["click"] = BinaryTaskConfig(sample_weight="w").build("click", LabelStatistics(observed=1000, mean=0.2))
    batch = replace(batch, task_inputs={"w": weight})
    as_row_weight = replace(plain, sample_weight=plain.sample_weight * torch.nan_to_num(weight))
    for losses in (task_losses, validation_losses):
        found = losses(logits, batch, tasks)
        expected, others = losses(logits, as_row_weight, make_tasks()), losses(logits, plain, make_tasks())
        torch.testing.assert_close(found.sums, torch.cat([expected.sums[:1], others.sums[1:]]), rtol=1e-12, atol=0)
        torch.testing.assert_close(
            found.weights, torch.cat([expected.weights[:1], others.weights[1:]]), rtol=1e-12, atol=0
        )


def test_rows_without_label_add_nothing_whatever_their_inputs() -> None:
    tasks: dict[str, TaskConfig] = {
        "click": RegressionTaskConfig.model_validate({"loss": "poisson", "offset": "e", "sample_weight": "w"}),
        "rating": ValueTaskConfig(),
        "value": WatchTimeTaskConfig(duration="d"),
    }
    built = {name: config.build(name, LabelStatistics(observed=0)) for name, config in tasks.items()}
    batch = random_batch(12, dtype=torch.float64)
    nothing = torch.full((12,), math.nan, dtype=torch.float64)
    batch = replace(
        batch,
        observed=torch.zeros(12, 3, dtype=torch.bool),
        labels=torch.zeros(12, 3, dtype=torch.float64),
        row_id=torch.full((12,), -1),
        task_inputs={"e": nothing, "w": nothing, "d": nothing},
    )
    logits = {
        name: torch.randn(12, task.num_outputs, dtype=torch.float64, requires_grad=True) for name, task in built.items()
    }
    sums, weights, _ = task_losses(logits, batch, built)
    sums.sum().backward()
    assert sums.tolist() == weights.tolist() == [0.0, 0.0, 0.0]
    assert all((value.grad == 0).all() for value in logits.values())
    assert SCHEMA.tasks == tuple(tasks)


def test_an_offset_is_taken_out_of_the_initial_rate() -> None:
    random = np.random.default_rng(1)
    exposure = random.lognormal(0, 1, 4000).astype(np.float32)
    label = random.poisson(3 * exposure).astype(np.float32)
    config = RegressionTaskConfig.model_validate({"loss": "poisson", "offset": "e"})
    tasks: dict[str, TaskConfig] = {"count": config}
    labels = Labels(label[:, None], np.ones((4000, 1), dtype=bool))
    inputs = encode_task_inputs(pa.table({"e": np.log(exposure)}), tasks, labels)
    parts = np.zeros(4000, dtype=np.int8)
    found, _ = label_summary([label_counts(labels, parts, size_cells(inputs, tasks))], tasks)
    bias = float(config.build("count", found["count"]).initial_bias())
    assert bias == pytest.approx(math.log(label.mean() / exposure.mean()), abs=0.01)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"loss": "poisson", "transform": "log1p"}, "remove transform: log1p"),
        ({"loss": "tweedie", "normalize": True}, "remove normalize: true"),
        ({"loss": "squared", "offset": "e"}, "offset goes with the losses poisson and tweedie, not with squared"),
        ({"loss": {"name": "tweedie", "power": 2.0}}, "less than 2"),
        ({"loss": {"name": "quantile"}}, "Field required"),
        ({"loss": {"name": "huber", "delta": 0}}, "greater than 0"),
        ({"loss": "cubic"}, "'cubic'"),
    ],
)
def test_losses_that_contradict_the_rest_are_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RegressionTaskConfig.model_validate(config)


def test_a_config_survives_being_written() -> None:
    for config in ({"loss": "poisson"}, {"loss": {"name": "quantile", "level": 0.9}, "normalize": False}, {}):
        task = RegressionTaskConfig.model_validate(config)
        assert RegressionTaskConfig.model_validate_json(task.model_dump_json()) == task


@pytest.mark.parametrize("loss", ["poisson", "tweedie"])
def test_a_label_below_0_is_refused_with_a_log_link(loss: str) -> None:
    config = RegressionTaskConfig.model_validate({"loss": loss})
    with pytest.raises(DataError, match=f"a finite number >= 0 \\(loss: {loss}\\)"):
        config.encode_labels(pa.chunked_array([[0.0, None, -1.0]]), "amount")
    for other in (ValueTaskConfig(), WatchTimeTaskConfig(duration="d")):
        with pytest.raises(DataError, match="a finite number >= 0; NULL"):
            other.encode_labels(pa.chunked_array([[0.0, None, -1.0]]), "amount")
        encoded = other.encode_labels(pa.chunked_array([[0.0, None, 3.5]]), "amount")
        np.testing.assert_array_equal(encoded, np.array([0.0, np.nan, 3.5], np.float32))


def test_statistics_of_a_value() -> None:
    values, counts = np.array([0.0, 1.0, math.e]), np.array([6, 1, 3])
    found = label_statistics(ValueTaskConfig(), values, np.full(3, -1, np.int16), counts)
    assert (found.observed, found.positive) == (10, 4)
    assert found.log_mean == pytest.approx(0.75)
    assert found.log_std == pytest.approx(math.sqrt(3) / 4)
    nothing = label_statistics(ValueTaskConfig(), np.zeros(1), np.full(1, -1, np.int16), np.array([5]))
    assert (nothing.positive, nothing.log_mean) == (0, None)
    task = ValueTaskConfig().build("value", nothing)
    assert torch.isfinite(task.initial_bias()).all()
    assert float(task.predict(task.initial_bias()[None])) < 0.3
