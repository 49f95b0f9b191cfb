"""Multiclass tasks: labels, loss, prediction, bias."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import log_loss

from mtl_ray.errors import DataError
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import MulticlassTask, MulticlassTaskConfig


def build(counts: tuple[int, ...] | None = (10, 30, 60)) -> MulticlassTask:
    statistics = LabelStatistics(observed=sum(counts or ()), class_counts=counts)
    return MulticlassTaskConfig(classes=(1, 2, 3)).build("rating", statistics)


def test_loss_equals_the_closed_form_and_sklearn() -> None:
    logits = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    label = torch.arange(20) % 3
    loss = build().loss(logits, label.to(torch.float32))
    probability = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    torch.testing.assert_close(loss, -probability[torch.arange(20), label].log(), rtol=0, atol=1e-12)
    expected = log_loss(label.numpy(), F.softmax(logits, dim=1).numpy())
    assert float(loss.mean()) == pytest.approx(expected, abs=1e-12)


def test_prediction_is_a_distribution() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16)
    predicted = build().predict(logits)
    torch.testing.assert_close(predicted, F.softmax(logits.float(), dim=1))
    assert predicted.dtype == torch.float32


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((10, 30, 60), [0.1, 0.3, 0.6]),
        ((0, 30, 60), [0.5 / 90.5, 30 / 90.5, 60 / 90.5]),
        ((0, 0, 0), [1 / 3] * 3),
        (None, [1 / 3] * 3),
    ],
)
def test_initial_bias_predicts_the_class_frequencies(counts: tuple[int, ...] | None, expected: list[float]) -> None:
    task = build(counts)
    torch.testing.assert_close(task.predict(task.initial_bias()[None]), torch.tensor([expected]))


@pytest.mark.parametrize(
    ("classes", "values"),
    [
        ((5, 1, 3), pa.chunked_array([[1, 3], [None, 5]])),
        ((5, 1, 3), pa.chunked_array([[1.0, 3.0, None, 5.0]])),
        ((5, 1, 3), pa.chunked_array([pa.array([1, 3, None, 5], pa.int8())])),
        ((5, 1, 3), pa.chunked_array([pa.array([1, 3, None, 5], pa.uint64())])),
        ((2**53 + 3, 2**53 + 1, 2**53 + 2), pa.chunked_array([[2**53 + 1, 2**53 + 2, None, 2**53 + 3]])),
        (("5", "1", "3"), pa.chunked_array([["1", "3"], [None, "5"]])),
        (("5", "1", "3"), pa.chunked_array([pa.array(["1", "3", None, "5"], pa.large_string())])),
        (("5", "1", "3"), pa.chunked_array([pa.array(["1", "3", None, "5"]).dictionary_encode()])),
    ],
)
def test_encoded_labels_are_class_indices(classes: tuple[int | str, ...], values: pa.ChunkedArray) -> None:
    encoded = MulticlassTaskConfig(classes=classes).encode_labels(values, "rating")
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, np.array([1, 2, np.nan, 0], np.float32))


@pytest.mark.parametrize("classes", [(1, 2), ("a", "b")])
def test_a_column_of_nulls_is_encoded(classes: tuple[int | str, ...]) -> None:
    encoded = MulticlassTaskConfig(classes=classes).encode_labels(pa.chunked_array([pa.nulls(3)]), "rating")
    assert np.isnan(encoded).tolist() == [True, True, True]


@pytest.mark.parametrize(
    ("classes", "values", "where", "found", "allowed"),
    [
        ((1, 2), [[1, None], [3, 0]], "column stars, row 2", "3, and 1 more rows", "one of 1, 2;"),
        ((1, 2), [[1.5]], "column stars, row 0", "1.5", "one of 1, 2;"),
        ((1, 2**53), [[1, 2**53 + 1]], "column stars, row 1", str(2**53 + 1), "one of 1, 9007199254740992;"),
        ((1, 2), [[float("nan")]], "column stars, row 0", "nan", "one of 1, 2;"),
        (("a", "b"), [["a", "c"]], "column stars, row 1", "'c'", "one of 'a', 'b';"),
        (("a", "b"), [[1, 2]], "column stars", "type int64", "one of 'a', 'b';"),
        ((1, 2), [["1"]], "column stars", "type string", "one of 1, 2;"),
    ],
)
def test_a_label_outside_its_classes_is_refused(
    classes: tuple[int | str, ...], values: list[list[object]], where: str, found: str, allowed: str
) -> None:
    column = pa.chunked_array([pa.array(chunk, from_pandas=False) for chunk in values])
    with pytest.raises(DataError) as caught:
        MulticlassTaskConfig(classes=classes).encode_labels(column, "stars")
    error = caught.value
    assert (error.where, error.found) == (where, found)
    assert str(error.allowed).startswith(allowed)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([1], "at least 2 items"),
        ([1, 2, 1], "found more than once: 1"),
        ([1, "2"], "all integers or all strings"),
        ([1.5, 2], "valid integer"),
        ([1, 2**63], "must fit into 64 bits, found 9223372036854775808"),
    ],
)
def test_classes_that_cannot_be_used_are_refused(classes: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MulticlassTaskConfig.model_validate({"classes": classes})


def test_metrics_take_class_probabilities() -> None:
    task = build()
    (metric,) = task.metrics(grouped=True).values()
    metric.update(np.array([[0.2, 0.7, 0.1], [0.5, 0.3, 0.2]]), np.array([1.0, 1.0]))
    assert metric.compute()["accuracy"] == 0.5


def weighted(weights: object, calibrate: bool = True, counts: tuple[int, ...] | None = (10, 30, 60)) -> MulticlassTask:
    config = MulticlassTaskConfig.model_validate(
        {"classes": (1, 2, 3), "class_weights": weights, "calibrate": calibrate}
    )
    return config.build("rating", LabelStatistics(observed=sum(counts or ()), class_counts=counts))


@pytest.mark.parametrize(
    ("weights", "ratios"), [([1, 2.0, 5], [1.0, 2.0, 5.0]), ("balanced", [1 / 10, 1 / 30, 1 / 60])]
)
def test_class_weights_keep_their_ratios_and_the_scale_of_the_loss(weights: object, ratios: list[float]) -> None:
    found = weighted(weights).class_weight(torch.arange(3, dtype=torch.float64))
    assert found is not None
    expected = torch.tensor(ratios, dtype=torch.float64)
    torch.testing.assert_close(found / found[0], expected / expected[0])
    rows = torch.tensor([10.0, 30.0, 60.0], dtype=torch.float64)
    assert float((rows * found).sum() / rows.sum()) == pytest.approx(1.0, rel=1e-12)


def test_the_bias_starts_at_what_is_learnt_and_predicts_the_true_frequencies() -> None:
    task = weighted("balanced")
    torch.testing.assert_close(torch.softmax(task.initial_bias(), dim=0), torch.full((3,), 1 / 3))
    torch.testing.assert_close(task.predict(task.initial_bias()[None]), torch.tensor([[0.1, 0.3, 0.6]]))
    as_weighted = weighted([6.0, 2.0, 1.0], calibrate=False)
    torch.testing.assert_close(as_weighted.predict(as_weighted.initial_bias()[None]), torch.full((1, 3), 1 / 3))


def test_corrected_probabilities_take_the_weights_out() -> None:
    logits = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = logits.exp() / torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    predicted = weighted([1, 2, 5]).predict(logits)
    torch.testing.assert_close(predicted, expected / expected.sum(dim=1, keepdim=True))
    torch.testing.assert_close(weighted([1, 2, 5], calibrate=False).predict(logits), F.softmax(logits, dim=1))


def test_without_class_weights_nothing_is_touched() -> None:
    logits = torch.randn(4, 3)
    assert build().corrected(logits) is logits
    assert build().class_weight(torch.zeros(4)) is None
    assert build().copies(torch.zeros(4), torch.ones(4, dtype=torch.bool)) is None


@pytest.mark.parametrize("counts", [(0, 30, 60), (0, 0, 0), None])
def test_balanced_without_a_class_is_finite(counts: tuple[int, ...] | None) -> None:
    task = weighted("balanced", counts=counts)
    assert torch.isfinite(task.initial_bias()).all()
    assert torch.isfinite(task.predict(torch.zeros(1, 3))).all()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0], "found 2 for 3 classes"),
        ([1.0, 0.0, 2.0], "finite number > 0"),
        ([1.0, -1, 2.0], "finite number > 0"),
        ([1.0, float("inf"), 2.0], "finite number > 0"),
        ([1.0, "2", 2.0], "finite number > 0"),
        (2.0, "a list of numbers > 0, balanced or null"),
        ("even", "a list of numbers > 0, balanced or null"),
    ],
)
def test_class_weights_that_cannot_be_used_are_refused(weights: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weighted(weights)
