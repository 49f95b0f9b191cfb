"""Binary tasks: labels, loss, prediction, bias."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import log_loss

from mtl_ray.errors import DataError
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import BinaryTask, BinaryTaskConfig


def build(mean: float | None = 0.3, observed: int = 100) -> BinaryTask:
    return BinaryTaskConfig().build("click", LabelStatistics(observed=observed, mean=mean))


def test_loss_equals_the_closed_form_and_sklearn() -> None:
    logits = torch.tensor([[-3.0], [0.5], [2.0], [0.0]], dtype=torch.float64)
    label = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    loss = build().loss(logits, label)
    probability = 1 / (1 + torch.exp(-logits[:, 0]))
    expected = -(label * probability.log() + (1 - label) * (1 - probability).log())
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    assert float(loss.mean()) == pytest.approx(log_loss(label.numpy(), probability.numpy()), abs=1e-12)


def test_loss_is_finite_far_out() -> None:
    logits = torch.tensor([[-500.0], [500.0]], requires_grad=True)
    loss = build().loss(logits, torch.tensor([1.0, 0.0]))
    loss.sum().backward()
    assert loss.tolist() == [500.0, 500.0]
    assert logits.grad is not None
    assert logits.grad.flatten().tolist() == [-1.0, 1.0]


def test_bfloat16_logits_are_computed_on_in_float32() -> None:
    logits = torch.tensor([[0.5]], dtype=torch.bfloat16)
    assert build().loss(logits, torch.ones(1)).dtype == torch.float32
    assert build().predict(logits).dtype == torch.float32


def test_prediction_is_a_probability() -> None:
    predicted = build().predict(torch.tensor([[0.0], [math.log(3.0)]]))
    torch.testing.assert_close(predicted, torch.tensor([0.5, 0.75]))


def test_initial_bias_predicts_the_base_rate() -> None:
    task = build(mean=0.0123)
    assert float(task.predict(task.initial_bias()[None])) == pytest.approx(0.0123, rel=1e-5)


@pytest.mark.parametrize(("mean", "observed"), [(0.0, 100), (1.0, 100), (None, 0)])
def test_initial_bias_is_finite_without_both_classes(mean: float | None, observed: int) -> None:
    task = build(mean, observed)
    predicted = float(task.predict(task.initial_bias()[None]))
    expected = {0.0: 0.5 / 101, 1.0: 100.5 / 101, None: 0.5}[mean]
    assert predicted == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "values",
    [
        pa.chunked_array([[1, 0], [None, 1]]),
        pa.chunked_array([[1.0, 0.0, None, 1.0]]),
        pa.chunked_array([pa.array([True, False]), pa.array([None, True])]),
        pa.chunked_array([pa.array([1, 0, None, 1], pa.uint8()).dictionary_encode()]),
    ],
    ids=["integer", "float", "boolean", "dictionary"],
)
def test_encoded_labels(values: pa.ChunkedArray) -> None:
    encoded = BinaryTaskConfig().encode_labels(values, "click")
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, np.array([1, 0, np.nan, 1], np.float32))


@pytest.mark.parametrize("values", [pa.chunked_array([], pa.int64()), pa.chunked_array([pa.nulls(2)])])
def test_a_column_without_labels_is_encoded(values: pa.ChunkedArray) -> None:
    encoded = BinaryTaskConfig().encode_labels(values, "click")
    assert encoded.shape == (len(values),)
    assert np.isnan(encoded).all()


@pytest.mark.parametrize(
    ("values", "where", "found"),
    [
        ([[1, None], [2, 0, 3]], "column is_click, row 2", "2, and 1 more rows"),
        ([[0.0, 0.5]], "column is_click, row 1", "0.5"),
        ([[-1, 0]], "column is_click, row 0", "-1"),
        ([[float("nan")]], "column is_click, row 0", "nan"),
        ([["yes", "no"]], "column is_click", "type string"),
    ],
)
def test_a_label_outside_its_range_is_refused(values: list[list[object]], where: str, found: str) -> None:
    column = pa.chunked_array([pa.array(chunk, from_pandas=False) for chunk in values])
    with pytest.raises(DataError) as caught:
        BinaryTaskConfig().encode_labels(column, "is_click")
    error = caught.value
    assert (error.where, error.found) == (where, found)
    assert error.allowed == "0, 1, false, true; NULL where not observed"
    assert error.fix is not None


@pytest.mark.parametrize("threshold", [0.0, 1.0, 1.5])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        BinaryTaskConfig(threshold=threshold)


def test_metrics_rank_and_decide_at_the_threshold() -> None:
    task = BinaryTaskConfig(threshold=0.7).build("click", LabelStatistics(observed=0))
    metrics = task.metrics(grouped=False)
    values: dict[str, float] = {}
    for metric in metrics.values():
        metric.update(np.array([0.2, 0.6, 0.9]), np.array([0.0, 0.0, 1.0]))
        values |= metric.compute()
    assert values["roc_auc"] == 1.0
    assert values["accuracy"] == 1.0, "0.6 counts as negative at 0.7"
    assert "gauc" not in values
    assert "gauc" in {name for metric in task.metrics(grouped=True).values() for name in metric.compute()}


def imbalanced(
    positive_weight: float | Literal["balanced"] = 1.0, calibrate: bool = True, **statistics: float
) -> BinaryTask:
    config = BinaryTaskConfig(positive_weight=positive_weight, calibrate=calibrate)
    return config.build("click", LabelStatistics.model_validate({"observed": 1000, "mean": 0.02, **statistics}))


@pytest.mark.parametrize(
    ("task", "learnt", "predicted"),
    [
        # A base rate of 0.02 is odds of 1 to 49.
        (imbalanced(negative_keep=0.1), 10 / 49, 0.02),
        (imbalanced(positive_repeat=7.0), 7 / 49, 0.02),
        (imbalanced(positive_weight=3.0), 3 / 49, 0.02),
        (imbalanced(positive_weight="balanced"), 1.0, 0.02),
        (imbalanced(3.0, negative_keep=0.5, positive_repeat=2.0), 12 / 49, 0.02),
        (imbalanced("balanced", negative_keep=0.5, positive_repeat=2.0), 1.0, 0.02),
        (imbalanced(positive_weight=3.0, calibrate=False), 3 / 49, 3 / 52),
        (imbalanced("balanced", calibrate=False), 1.0, 0.5),
        # What sampling did is taken out in any case: balanced, 4 of these 49 to 1 are its own.
        (imbalanced("balanced", calibrate=False, negative_keep=0.5, positive_repeat=2.0), 1.0, 1 / 5),
    ],
)
def test_the_bias_starts_at_the_odds_that_are_learnt(task: BinaryTask, learnt: float, predicted: float) -> None:
    bias = task.initial_bias()
    assert float(bias.exp()) == pytest.approx(learnt, rel=1e-5)
    assert float(task.predict(bias[None])) == pytest.approx(predicted, rel=1e-5)


def test_corrected_logits_are_the_true_odds() -> None:
    task = imbalanced(positive_weight=2.0, negative_keep=0.25, positive_repeat=3.0)
    logits = torch.tensor([[-2.0], [0.0], [4.0]], dtype=torch.float64)
    torch.testing.assert_close(task.corrected(logits).exp(), logits.exp() * 0.25 / 3.0 / 2.0)
    torch.testing.assert_close(task.predict(logits), torch.sigmoid(task.corrected(logits)).squeeze(-1))
    assert task.corrected(logits.bfloat16()).dtype == torch.float32


def test_without_imbalance_nothing_is_touched() -> None:
    task = build()
    logits = torch.randn(5, 1)
    assert task.corrected(logits) is logits
    assert task.class_weight(torch.ones(5)) is None
    assert task.copies(torch.ones(5), torch.ones(5, dtype=torch.bool)) is None


@pytest.mark.parametrize("weight", [0.2, 5.0, "balanced"])
def test_class_weights_keep_their_ratio_and_the_scale_of_the_loss(weight: float | Literal["balanced"]) -> None:
    task = imbalanced(weight, negative_keep=0.5, positive_repeat=3.0)
    label = torch.tensor([0.0, 1.0], dtype=torch.float64)
    weights = task.class_weight(label)
    assert weights is not None
    rows = torch.tensor([980 * 0.5, 20 * 3.0], dtype=torch.float64)
    expected = 490 / 60 if weight == "balanced" else weight
    assert float(weights[1] / weights[0]) == pytest.approx(expected, rel=1e-12)
    assert float((rows * weights).sum() / rows.sum()) == pytest.approx(1.0, rel=1e-12)
    assert weights.dtype == torch.float64


def test_copies_are_those_of_observed_labels() -> None:
    task = imbalanced(negative_keep=0.1, positive_repeat=3.0)
    observed = torch.tensor([True, True, False])
    copies = task.copies(torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64), observed)
    assert copies is not None
    assert copies.tolist() == [0.1, 3.0, 1.0]


@pytest.mark.parametrize("mean", [0.0, 1.0, None])
def test_balanced_without_both_classes_is_finite(mean: float | None) -> None:
    statistics = LabelStatistics(observed=0 if mean is None else 50, mean=mean, negative_keep=0.5)
    task = BinaryTaskConfig(positive_weight="balanced").build("click", statistics)
    assert math.isfinite(float(task.initial_bias()))
    assert math.isfinite(float(task.predict(torch.zeros(1, 1))))


@pytest.mark.parametrize("weight", [0, -1.0, float("inf"), float("nan"), "heavy", True, None, [1.0]])
def test_a_positive_weight_outside_its_range_is_refused(weight: object) -> None:
    with pytest.raises(ValidationError, match="finite number > 0, or all of them balanced") as caught:
        BinaryTaskConfig.model_validate({"positive_weight": weight})
    assert caught.value.error_count() == 1


def test_a_loss_is_named_alone_or_with_its_settings() -> None:
    named = BinaryTaskConfig.model_validate({"loss": "focal"})
    assert named == BinaryTaskConfig.model_validate({"loss": {"name": "focal", "gamma": 2, "alpha": None}})
    assert BinaryTaskConfig.model_validate_json(named.model_dump_json()) == named
    assert BinaryTaskConfig().loss.name == "bce"


def test_positives_are_weighed_once() -> None:
    with pytest.raises(ValidationError, match="both weigh positive rows; remove one of them"):
        BinaryTaskConfig.model_validate({"loss": {"name": "focal", "alpha": 0.25}, "positive_weight": 3.0})


@pytest.mark.parametrize("config", [{"loss": {"name": "focal", "alpha": 1.0}}, {"label_smoothing": 1.0}])
def test_settings_of_losses_have_ranges(config: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="less than 1"):
        BinaryTaskConfig.model_validate(config)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_sampling_is_taken_out_of_focal_predictions(gamma: float) -> None:
    """At the initial bias the model predicts the base rate before sampling, and a constant that fits the sampled rows
    best is that bias."""
    statistics = LabelStatistics(observed=1000, mean=0.1, negative_keep=0.2, positive_repeat=2.0)
    config = BinaryTaskConfig.model_validate({"loss": {"name": "focal", "gamma": gamma}})
    task = config.build("click", statistics)
    logit = task.initial_bias().double()[None].requires_grad_()
    assert float(task.predict(logit.detach())) == pytest.approx(0.1, rel=1e-5)
    sampled = torch.tensor([1.0] * 200 + [0.0] * 180)
    task.loss(logit.expand(380, 1), sampled).mean().backward()
    assert logit.grad is not None
    assert float(logit.grad) == pytest.approx(0.0, abs=1e-6)
