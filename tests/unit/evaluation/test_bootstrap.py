"""Intervals: the fast path is the definition, and they cover what they should."""

from __future__ import annotations

import numpy as np
import pytest

from mtl_ray.evaluation.bootstrap import Interval, bootstrap_intervals
from mtl_ray.metrics import (
    GroupedRankingMetrics,
    Metric,
    MetricSet,
    MulticlassMetrics,
    RankingMetrics,
    RegressionMetrics,
    ThresholdMetrics,
    binary_metrics,
    ordinal_metrics,
    value_metrics,
)
from mtl_ray.metrics.metric import Rows, Units

ROWS, GROUPS, CLASSES = 400, 60, 4


def example(kind: str, dtype: type = np.float64) -> tuple[Metric, Rows]:
    rng = np.random.default_rng(7)
    group = rng.integers(GROUPS, size=ROWS)
    weight = rng.integers(1, 4, size=ROWS) * 0.5
    if kind == "binary":
        score = rng.random(ROWS).round(2)
        label = (rng.random(ROWS) < score).astype(float)
        return MetricSet(binary_metrics(grouped=True)), Rows.checked(score.astype(dtype), label, weight, group)
    if kind == "regression":
        label = rng.lognormal(size=ROWS)
        return RegressionMetrics(log1p=True), Rows.checked(label * rng.lognormal(size=ROWS), label, weight, group)
    if kind == "value":
        label = np.where(rng.random(ROWS) < 0.5, 0.0, rng.lognormal(size=ROWS))
        prediction = (label + rng.lognormal(size=ROWS)).round(1)
        return MetricSet(value_metrics()), Rows.checked(prediction, label, weight, group)
    prediction = rng.dirichlet(np.ones(CLASSES), size=ROWS)
    label = rng.integers(CLASSES, size=ROWS).astype(float)
    if kind == "ordinal":
        return MetricSet(ordinal_metrics(CLASSES)), Rows.checked(prediction.astype(dtype), label, weight, group)
    return MulticlassMetrics(CLASSES), Rows.checked(prediction.astype(dtype), label, weight, group)


@pytest.mark.parametrize("unit", ["group", "row"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["binary", "regression", "multiclass", "ordinal", "value"])
def test_fast_path_equals_the_metric_on_resampled_weights(kind: str, unit: str, dtype: type) -> None:
    metric, rows = example(kind, dtype)
    assert rows.group is not None
    units = Units(rows.group, GROUPS) if unit == "group" else Units(np.arange(len(rows)), len(rows))
    counts = np.random.default_rng(1).multinomial(units.total, np.full(units.total, 1 / units.total), size=6)
    fast = metric.resampler(rows, units)(counts.astype(np.float64))
    defined = Metric.resampler(metric, rows, units)(counts.astype(np.float64))
    assert fast.keys() == defined.keys()
    for name, values in fast.items():
        assert np.isfinite(values).all()
        np.testing.assert_allclose(values, defined[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_fast_path_says_where_a_replicate_defines_nothing() -> None:
    rows = Rows.checked(np.array([0.1, 0.9, 0.4]), np.array([0.0, 1.0, 1.0]), None, np.array([0, 0, 1]))
    counts = np.array([[0.0, 0.0, 2.0], [2.0, 0.0, 0.0]])
    metric = MetricSet(binary_metrics(grouped=True))
    units = Units(np.arange(3), 3)
    fast, defined = metric.resampler(rows, units)(counts), Metric.resampler(metric, rows, units)(counts)
    for name, values in fast.items():
        np.testing.assert_allclose(values, defined[name], rtol=1e-9, err_msg=name)
    assert np.isnan(fast["roc_auc"]).all()


def test_a_constant_replicate_has_no_r2() -> None:
    label = np.array([0.1, 0.1, 5.3])
    rows = Rows.checked(label + 0.5, label, None, None)
    values = RegressionMetrics().resampler(rows, Units(np.arange(3), 3))(np.array([[2.0, 1.0, 0.0], [1.0, 1.0, 1.0]]))
    assert np.isnan(values["r2"][0])
    assert np.isfinite(values["r2"][1])


def accuracy_rows(seed: int, rows: int, accuracy: float) -> tuple[np.ndarray, np.ndarray]:
    right = np.random.default_rng(seed).random(rows) < accuracy
    return np.where(right, 0.9, 0.1), np.ones(rows)


def interval(intervals: dict[str, Interval | None], name: str) -> Interval:
    found = intervals[name]
    assert found is not None
    return found


def test_accuracy_interval_is_the_normal_one() -> None:
    prediction, label = accuracy_rows(0, 2000, 0.8)
    accuracy = float((prediction > 0.5).mean())
    error = np.sqrt(accuracy * (1 - accuracy) / len(label))
    for confidence, quantile in ((0.95, 1.960), (0.68, 0.994)):
        low, high = interval(
            bootstrap_intervals(ThresholdMetrics(), prediction, label, replicates=2000, confidence=confidence),
            "accuracy",
        )
        assert low == pytest.approx(accuracy - quantile * error, abs=0.15 * error)
        assert high == pytest.approx(accuracy + quantile * error, abs=0.15 * error)


def test_95_percent_intervals_cover_the_truth_about_95_times_in_100() -> None:
    covered = 0
    for seed in range(300):
        prediction, label = accuracy_rows(seed, 300, 0.8)
        low, high = interval(bootstrap_intervals(ThresholdMetrics(), prediction, label, seed=seed), "accuracy")
        covered += low <= 0.8 <= high
    # Binomial(300, 0.95) leaves 0.90 to 0.985 about once in 3,000 times; the seeds are fixed.
    assert 0.90 <= covered / 300 <= 0.985


def test_whole_groups_are_drawn() -> None:
    """Rows that repeat 16 times within their group hold no more than one row's information: 4 times as wide."""
    prediction, label = accuracy_rows(3, 500, 0.7)
    many = {"prediction": np.repeat(prediction, 16), "label": np.repeat(label, 16)}
    group = np.repeat(np.arange(500), 16)
    by_group = interval(bootstrap_intervals(ThresholdMetrics(), **many, group=group, replicates=1000), "accuracy")
    by_row = interval(bootstrap_intervals(ThresholdMetrics(), **many, replicates=1000), "accuracy")
    once = interval(bootstrap_intervals(ThresholdMetrics(), prediction, label, replicates=1000), "accuracy")
    assert (by_group.high - by_group.low) / (by_row.high - by_row.low) == pytest.approx(4.0, rel=0.1)
    assert (by_group.high - by_group.low) == pytest.approx(once.high - once.low, rel=0.05)


@pytest.mark.parametrize("kind", ["binary", "regression", "multiclass", "ordinal", "value"])
@pytest.mark.parametrize("grouped", [True, False])
def test_intervals_contain_the_value_and_repeat_with_the_seed(kind: str, grouped: bool) -> None:
    metric, rows = example(kind)
    if kind == "binary" and not grouped:
        metric = MetricSet(binary_metrics())
    group = rows.group if grouped else None
    metric.update(rows.prediction, rows.label, rows.weight, group)

    def intervals(seed: int) -> dict[str, Interval | None]:
        return bootstrap_intervals(metric, rows.prediction, rows.label, rows.weight, group, seed=seed)

    first = intervals(0)
    for name, value in metric.compute().items():
        low, high = interval(first, name)
        assert low <= value <= high, name
        assert low < high, name
    assert intervals(0) == first
    assert intervals(1) != first


def test_the_block_size_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, label = accuracy_rows(0, 100, 0.8)
    whole = bootstrap_intervals(ThresholdMetrics(), prediction, label)
    monkeypatch.setattr("mtl_ray.evaluation.bootstrap._BLOCK_CELLS", 700)
    assert bootstrap_intervals(ThresholdMetrics(), prediction, label) == whole


def test_no_interval_where_it_would_mean_nothing() -> None:
    score, label = np.array([0.2, 0.4, 0.6]), np.array([0.0, 0.0, 1.0])
    assert bootstrap_intervals(RankingMetrics(), score, label, replicates=0) == {"roc_auc": None, "pr_auc": None}
    assert bootstrap_intervals(RankingMetrics(), score[:0], label[:0])["roc_auc"] is None
    # One positive: 30 % of the replicates have none.
    assert bootstrap_intervals(RankingMetrics(), score, label)["roc_auc"] is None
    one_group = bootstrap_intervals(GroupedRankingMetrics(), score, label, group=np.array([4, 4, 4]))
    assert one_group == {"gauc": None}


@pytest.mark.parametrize("change", [{"confidence": 1.0}, {"replicates": -1}])
def test_settings_out_of_range(change: dict[str, float]) -> None:
    prediction, label = accuracy_rows(0, 10, 0.5)
    with pytest.raises(ValueError, match=next(iter(change))):
        bootstrap_intervals(ThresholdMetrics(), prediction, label, **change)  # type: ignore[arg-type]
