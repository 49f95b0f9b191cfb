"""Every metric equals scikit-learn's, or a plain loop where scikit-learn has none, to 1e-6."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from mtl_ray.metrics import (
    CalibrationMetrics,
    GroupedRankingMetrics,
    LogLossMetrics,
    MulticlassMetrics,
    RankingMetrics,
    RegressionMetrics,
    ThresholdMetrics,
)

TOLERANCE = 1e-6
BINS = 15

# A coarse grid makes ties, edges of bins and exact thresholds; floats make everything else.
probabilities = st.one_of(
    st.integers(0, 30).map(lambda step: step / 30), st.floats(0.0, 1.0, width=32, allow_subnormal=False)
)
weights = st.one_of(st.integers(1, 4).map(float), st.floats(0.01, 10.0))


@st.composite
def binary_rows(draw: st.DrawFn) -> dict[str, Any]:
    rows = draw(st.integers(1, 60))
    row_lists = {"min_size": rows, "max_size": rows}
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    weighted = draw(st.booleans())
    return {
        "prediction": np.array(draw(st.lists(probabilities, **row_lists)), dtype=dtype),
        "label": np.array(draw(st.lists(st.integers(0, 1), **row_lists)), dtype=np.float32),
        "weight": np.array(draw(st.lists(weights, **row_lists))) if weighted else None,
    }


def close(value: float, wanted: float) -> bool:
    return value == pytest.approx(wanted, abs=TOLERANCE, rel=TOLERANCE)


@given(rows=binary_rows())
@settings(max_examples=60, deadline=None)
def test_ranking(rows: dict[str, Any]) -> None:
    metric = RankingMetrics()
    metric.update(**rows)
    values = metric.compute()
    label, score, weight = rows["label"], rows["prediction"], rows["weight"]
    if label.min() < label.max():
        assert close(values["roc_auc"], reference.roc_auc_score(label, score, sample_weight=weight))
    else:
        assert np.isnan(values["roc_auc"])
    if label.max() == 1:
        assert close(values["pr_auc"], reference.average_precision_score(label, score, sample_weight=weight))
    else:
        assert np.isnan(values["pr_auc"])


@given(rows=binary_rows(), data=st.data(), kind=st.sampled_from(["int", "str"]))
@settings(max_examples=50, deadline=None)
def test_gauc_is_the_weighted_mean_of_the_groups(rows: dict[str, Any], data: st.DataObject, kind: str) -> None:
    n = len(rows["label"])
    numbers = data.draw(st.lists(st.integers(-2, 6), min_size=n, max_size=n))
    group = np.array(numbers) if kind == "int" else np.array([f"user{number}" for number in numbers])
    metric = GroupedRankingMetrics()
    metric.update(**rows, group=group)

    areas, sizes = [], []
    weight = np.ones(n) if rows["weight"] is None else rows["weight"]
    for key in set(group.tolist()):
        mine = group == key
        if len(set(rows["label"][mine].tolist())) == 2:
            areas.append(
                reference.roc_auc_score(rows["label"][mine], rows["prediction"][mine], sample_weight=weight[mine])
            )
            sizes.append(weight[mine].sum())
    value = metric.compute()["gauc"]
    if areas:
        assert close(value, float(np.average(areas, weights=sizes)))
    else:
        assert np.isnan(value)


@given(rows=binary_rows())
@settings(max_examples=60, deadline=None)
def test_log_loss_clips_as_scikit_learn_does_for_the_dtype(rows: dict[str, Any]) -> None:
    metric = LogLossMetrics()
    metric.update(**rows)
    values = metric.compute()
    label, weight = rows["label"], rows["weight"]
    wanted = reference.log_loss(label, rows["prediction"], sample_weight=weight, labels=[0, 1])
    assert close(values["log_loss"], wanted)
    rate = np.average(label.astype(np.float64), weights=weight)
    if 0 < rate < 1:
        entropy = reference.log_loss(label, np.full(len(label), rate), sample_weight=weight, labels=[0, 1])
        assert close(values["normalized_entropy"], wanted / entropy)
    else:
        assert np.isnan(values["normalized_entropy"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_certain_and_wrong_costs_what_scikit_learn_says(dtype: type) -> None:
    label, prediction = np.array([1.0, 0.0]), np.array([0.0, 1.0], dtype=dtype)
    metric = LogLossMetrics()
    metric.update(prediction, label)
    assert close(metric.compute()["log_loss"], reference.log_loss(label, prediction))


@given(rows=binary_rows(), threshold=st.sampled_from([0.1, 0.5, 0.8]))
@settings(max_examples=60, deadline=None)
def test_decisions(rows: dict[str, Any], threshold: float) -> None:
    metric = ThresholdMetrics(threshold)
    metric.update(**rows)
    label, weight = rows["label"], rows["weight"]
    chosen = rows["prediction"].astype(np.float64) >= threshold
    wanted = {"accuracy": reference.accuracy_score(label, chosen, sample_weight=weight)}
    for name, score in (
        ("precision", reference.precision_score),
        ("recall", reference.recall_score),
        ("f1", reference.f1_score),
    ):
        wanted[name] = score(label, chosen, sample_weight=weight, zero_division=0)
    assert metric.compute() == pytest.approx(wanted, abs=TOLERANCE)


@given(rows=binary_rows())
@settings(max_examples=50, deadline=None)
def test_calibration_against_a_loop_over_bins(rows: dict[str, Any]) -> None:
    metric = CalibrationMetrics(BINS)
    metric.update(**rows)
    p, label = rows["prediction"].astype(np.float64), rows["label"]
    weight = np.ones(len(p)) if rows["weight"] is None else rows["weight"]
    edges = np.linspace(0.0, 1.0, BINS + 1)
    error = 0.0
    for low, high in pairwise(edges):
        mine = (p > low) & (p <= high) | ((p == 0.0) & (low == 0.0))
        if mine.any():
            gap = np.average(p[mine], weights=weight[mine]) - np.average(label[mine], weights=weight[mine])
            error += weight[mine].sum() / weight.sum() * abs(gap)
    values = metric.compute()
    assert close(values["ece"], error)
    positives = float(weight @ label)
    if positives:
        assert close(values["predicted_over_observed"], float(weight @ p) / positives)
    else:
        assert np.isnan(values["predicted_over_observed"])


@st.composite
def regression_rows(draw: st.DrawFn, low: float) -> dict[str, Any]:
    rows = draw(st.integers(1, 50))
    row_lists = {"min_size": rows, "max_size": rows}
    # Multiples of 1/8 in a range where float32 is exact: the label's spread is then real, not rounding.
    numbers = st.integers(int(8 * low), 800).map(lambda step: step / 8)
    return {
        "prediction": np.array(draw(st.lists(numbers, **row_lists)), dtype=np.float32),
        "label": np.array(draw(st.lists(numbers, **row_lists)), dtype=np.float32),
        "weight": np.array(draw(st.lists(weights, **row_lists))) if draw(st.booleans()) else None,
    }


def regression_reference(label: Any, prediction: Any, weight: Any, scale: str) -> dict[str, float]:
    label, prediction = label.astype(np.float64), prediction.astype(np.float64)
    return {
        f"rmse{scale}": reference.root_mean_squared_error(label, prediction, sample_weight=weight),
        f"mae{scale}": reference.mean_absolute_error(label, prediction, sample_weight=weight),
        f"r2{scale}": reference.r2_score(label, prediction, sample_weight=weight)
        if label.min() < label.max()
        else np.nan,
    }


@given(rows=regression_rows(low=-100))
@settings(max_examples=50, deadline=None)
def test_regression(rows: dict[str, Any]) -> None:
    metric = RegressionMetrics()
    metric.update(**rows)
    wanted = regression_reference(rows["label"], rows["prediction"], rows["weight"], "")
    assert metric.compute() == pytest.approx(wanted, abs=TOLERANCE, rel=TOLERANCE, nan_ok=True)


@given(rows=regression_rows(low=0))
@settings(max_examples=50, deadline=None)
def test_regression_on_the_log_scale(rows: dict[str, Any]) -> None:
    metric = RegressionMetrics(log1p=True)
    metric.update(**rows)
    label, prediction = rows["label"].astype(np.float64), rows["prediction"].astype(np.float64)
    wanted = regression_reference(label, prediction, rows["weight"], "") | regression_reference(
        np.log1p(label), np.log1p(prediction), rows["weight"], "_log1p"
    )
    assert metric.compute() == pytest.approx(wanted, abs=TOLERANCE, rel=TOLERANCE, nan_ok=True)


def test_r2_of_labels_far_from_zero_keeps_its_digits() -> None:
    rng = np.random.default_rng(0)
    label = 1e9 + rng.normal(size=3000)
    prediction = label + 0.5 * rng.normal(size=3000)
    metric = RegressionMetrics()
    for rows in np.array_split(np.arange(3000), 7):
        metric.update(prediction[rows], label[rows])
    assert close(metric.compute()["r2"], reference.r2_score(label, prediction))


@st.composite
def multiclass_rows(draw: st.DrawFn) -> dict[str, Any]:
    rows, classes = draw(st.integers(1, 40)), draw(st.integers(2, 6))
    # Small whole numbers, normalised: equal probabilities are common.
    marks = draw(
        st.lists(
            st.lists(st.integers(0, 4), min_size=classes, max_size=classes).filter(any), min_size=rows, max_size=rows
        )
    )
    prediction = np.array(marks, dtype=np.float64)
    return {
        "prediction": prediction / prediction.sum(axis=1, keepdims=True),
        "label": np.array(draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))),
        "weight": np.array(draw(st.lists(weights, min_size=rows, max_size=rows))) if draw(st.booleans()) else None,
    }


@given(rows=multiclass_rows())
@settings(max_examples=60, deadline=None)
def test_multiclass(rows: dict[str, Any]) -> None:
    label, prediction, weight = rows["label"], rows["prediction"], rows["weight"]
    classes = prediction.shape[1]
    metric = MulticlassMetrics(classes)
    metric.update(**rows)
    chosen, k = prediction.argmax(axis=1), min(3, classes - 1)
    wanted = {
        "accuracy": reference.accuracy_score(label, chosen, sample_weight=weight),
        "macro_f1": reference.f1_score(label, chosen, average="macro", sample_weight=weight, zero_division=0),
        "log_loss": reference.log_loss(label, prediction, sample_weight=weight, labels=np.arange(classes)),
    }
    if k > 1:
        wanted[f"top{k}_accuracy"] = reference.top_k_accuracy_score(
            label, prediction, k=k, sample_weight=weight, labels=np.arange(classes)
        )
    assert metric.compute() == pytest.approx(wanted, abs=TOLERANCE)


def test_many_rows_in_many_updates_pass_the_compaction() -> None:
    """Above the number of rows at which the ranking states aggregate themselves on the way."""
    rng = np.random.default_rng(1)
    n = 600_000
    score, label, group = rng.random(n).round(4), rng.random(n) < 0.1, rng.integers(50, size=n)
    ranking, grouped = RankingMetrics(), GroupedRankingMetrics()
    for rows in np.array_split(np.arange(n), 40):
        ranking.update(score[rows], label[rows])
        grouped.update(score[rows], label[rows], group=group[rows])
    assert close(ranking.compute()["roc_auc"], reference.roc_auc_score(label, score))
    assert close(ranking.compute()["pr_auc"], reference.average_precision_score(label, score))
    areas = [reference.roc_auc_score(label[group == key], score[group == key]) for key in range(50)]
    assert close(grouped.compute()["gauc"], float(np.average(areas, weights=np.bincount(group))))


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """scikit-learn warns of the undefined cases that these tests look for, and of one class among two."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
