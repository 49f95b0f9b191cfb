"""Regression tasks: labels, loss, prediction, bias."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import mean_squared_error

from mtl_ray.errors import DataError
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import RegressionTask, RegressionTaskConfig

Transform = Literal["none", "log1p"]
LABELS = np.array([0.0, 3.0, 10.0, 250.0])


def build(transform: Transform, normalize: bool, labels: np.ndarray = LABELS) -> RegressionTask:
    transformed = np.log1p(labels) if transform == "log1p" else labels
    statistics = LabelStatistics(
        observed=len(labels),
        mean=float(labels.mean()),
        transformed_mean=float(transformed.mean()),
        transformed_std=float(transformed.std()),
    )
    return RegressionTaskConfig(transform=transform, normalize=normalize).build("value", statistics)


every_kind = pytest.mark.parametrize(
    ("transform", "normalize"), [("none", False), ("none", True), ("log1p", False), ("log1p", True)]
)


@every_kind
def test_loss_is_the_squared_error_in_transformed_units(transform: Transform, normalize: bool) -> None:
    target = np.log1p(LABELS) if transform == "log1p" else LABELS
    if normalize:
        target = (target - target.mean()) / target.std()
    output = np.array([0.5, -1.0, 2.0, 0.0])
    loss = build(transform, normalize).loss(torch.tensor(output)[:, None], torch.tensor(LABELS))
    assert float(loss.mean()) == pytest.approx(mean_squared_error(target, output), rel=1e-12)


@pytest.mark.parametrize("transform", ["none", "log1p"])
def test_normalised_loss_of_the_mean_is_1(transform: Transform) -> None:
    loss = build(transform, True).loss(torch.zeros(4, 1, dtype=torch.float64), torch.tensor(LABELS))
    assert float(loss.mean()) == pytest.approx(1.0, abs=1e-12)


@every_kind
def test_prediction_inverts_the_target(transform: Transform, normalize: bool) -> None:
    task = build(transform, normalize)
    label = torch.tensor(LABELS)
    output = torch.zeros(4, 1, dtype=torch.float64, requires_grad=True)
    # The loss is (output - target)^2, so target = output - gradient / 2.
    task.loss(output, label).sum().backward()
    assert output.grad is not None
    torch.testing.assert_close(task.predict(-output.grad / 2), label, rtol=1e-12, atol=1e-12)


@every_kind
def test_initial_bias_predicts_the_transformed_mean(transform: Transform, normalize: bool) -> None:
    task = build(transform, normalize)
    mean = math.expm1(np.log1p(LABELS).mean()) if transform == "log1p" else LABELS.mean()
    assert float(task.predict(task.initial_bias()[None])) == pytest.approx(mean, rel=1e-5)


def test_log1p_predictions_stay_finite_and_at_least_0() -> None:
    predicted = build("log1p", normalize=False).predict(torch.tensor([[-5.0], [1000.0]]))
    assert predicted[0] == 0.0
    assert torch.isfinite(predicted).all()


@pytest.mark.parametrize(
    "statistics", [LabelStatistics(observed=0), LabelStatistics(observed=0, transformed_mean=None)]
)
@pytest.mark.parametrize("normalize", [True, False])
def test_without_labels_everything_is_finite(statistics: LabelStatistics, normalize: bool) -> None:
    task = RegressionTaskConfig(normalize=normalize).build("value", statistics)
    assert task.initial_bias().tolist() == [0.0]
    assert task.loss(torch.ones(2, 1), torch.zeros(2)).tolist() == [1.0, 1.0]


def test_a_label_that_never_varies_is_finite() -> None:
    task = build("none", True, np.array([7.0, 7.0]))
    assert task.loss(torch.zeros(1, 1), torch.tensor([7.0])).tolist() == [0.0]
    assert task.predict(torch.zeros(1, 1)).tolist() == [7.0]


def test_encoded_labels_keep_their_units() -> None:
    values = pa.chunked_array([[1, 0], [None, 250]])
    encoded = RegressionTaskConfig(transform="log1p").encode_labels(values, "value")
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, np.array([1, 0, np.nan, 250], np.float32))
    assert RegressionTaskConfig().encode_labels(pa.chunked_array([[-2.5]]), "value").tolist() == [-2.5]


@pytest.mark.parametrize(
    ("transform", "values", "where", "found"),
    [
        ("log1p", [1.0, None, -0.5], "column amount, row 2", "-0.5"),
        ("none", [math.inf, -math.inf], "column amount, row 0", "inf, and 1 more rows"),
        ("none", [0.0, math.nan], "column amount, row 1", "nan"),
        ("none", [1e300], "column amount, row 0", "1e+300"),
        ("none", ["3"], "column amount", "type string"),
    ],
)
def test_a_label_outside_its_range_is_refused(
    transform: Transform, values: list[object], where: str, found: str
) -> None:
    column = pa.chunked_array([pa.array(values, from_pandas=False)])
    with pytest.raises(DataError) as caught:
        RegressionTaskConfig(transform=transform).encode_labels(column, "amount")
    error = caught.value
    assert (error.where, error.found) == (where, found)
    range_of = {"log1p": "a finite number >= 0 (transform: log1p)", "none": "a finite number"}[transform]
    assert error.allowed == f"{range_of}; NULL where not observed"


def test_metrics_have_errors_of_the_value_and_of_its_logarithm() -> None:
    task = build("log1p", normalize=True)
    (metric,) = task.metrics(grouped=False).values()
    metric.update(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    values = metric.compute()
    assert values["rmse"] == pytest.approx(1.0)
    assert "rmse_log1p" in values
    (plain,) = build("none", normalize=True).metrics(grouped=False).values()
    assert "rmse_log1p" not in plain.compute()
