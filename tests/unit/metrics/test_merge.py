"""Shards merge exactly: 1, 2 and 3 of them give the same value, whatever each one holds."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_ray.errors import MtlRayError
from mtl_ray.metrics import (
    GREATER_IS_BETTER,
    CalibrationMetrics,
    GroupedRankingMetrics,
    LogLossMetrics,
    Metric,
    MetricSet,
    MulticlassMetrics,
    RankingMetrics,
    RegressionMetrics,
    ThresholdMetrics,
    binary_metrics,
    multiclass_metrics,
    ordinal_metrics,
    regression_metrics,
    value_metrics,
)

ROWS = 240
CLASSES = 5
SETS = {
    "binary": MetricSet(binary_metrics(threshold=0.4, grouped=True)),
    "regression": MetricSet(regression_metrics(log1p=True, level=0.9)),
    "multiclass": MetricSet(multiclass_metrics(CLASSES)),
    "ordinal": MetricSet(ordinal_metrics(CLASSES)),
    "value": MetricSet(value_metrics()),
}
EXACT = {"rel": 1e-12, "abs": 1e-12, "nan_ok": True}


def example(kind: str, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = {"group": rng.integers(20, size=ROWS), "weight": rng.integers(0, 4, size=ROWS) * 0.5}
    if kind == "binary":
        score = rng.random(ROWS).round(2)
        return rows | {"prediction": score, "label": (rng.random(ROWS) < score).astype(np.float64)}
    if kind == "regression":
        label = rng.lognormal(size=ROWS)
        return rows | {"prediction": label * rng.lognormal(size=ROWS), "label": label}
    if kind == "value":
        label = np.where(rng.random(ROWS) < 0.5, 0.0, rng.lognormal(size=ROWS))
        return rows | {"prediction": (label + rng.lognormal(size=ROWS)).round(1), "label": label}
    return rows | {"prediction": rng.dirichlet(np.ones(CLASSES), size=ROWS), "label": rng.integers(CLASSES, size=ROWS)}


def merged(metric: Metric, rows: dict[str, np.ndarray], shards: Sequence[np.ndarray]) -> dict[str, float]:
    total = metric.empty()
    for shard in shards:
        part = metric.empty()
        part.update(**{name: values[shard] for name, values in rows.items()})
        total.merge(part)
    return total.compute()


def whole(metric: Metric, rows: dict[str, np.ndarray]) -> dict[str, float]:
    fresh = metric.empty()
    fresh.update(**rows)
    return fresh.compute()


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_shards_gives_the_same(kind: str, count: int) -> None:
    rows = example(kind)
    shards = np.array_split(np.random.default_rng(3).permutation(ROWS), count)
    values = whole(SETS[kind], rows)
    assert np.isfinite(list(values.values())).all()
    assert merged(SETS[kind], rows, shards) == pytest.approx(values, **EXACT)


@given(
    kind=st.sampled_from(sorted(SETS)),
    seed=st.integers(0, 1000),
    owner=st.lists(st.integers(0, 4), min_size=ROWS, max_size=ROWS),
)
@settings(max_examples=60, deadline=None)
def test_any_partition_gives_the_same(kind: str, seed: int, owner: list[int]) -> None:
    rows = example(kind, seed)
    shards = [np.flatnonzero(np.array(owner) == shard) for shard in range(5)]
    assert merged(SETS[kind], rows, shards) == pytest.approx(whole(SETS[kind], rows), **EXACT)


def test_a_shard_without_positives_and_one_without_negatives() -> None:
    rows = example("binary")
    shards = [np.flatnonzero(rows["label"] == 0), np.flatnonzero(rows["label"] == 1)]
    alone = whole(SETS["binary"], {name: values[shards[0]] for name, values in rows.items()})
    assert np.isnan(alone["roc_auc"])
    assert np.isnan(alone["gauc"])
    assert np.isnan(alone["normalized_entropy"])
    assert merged(SETS["binary"], rows, shards) == pytest.approx(whole(SETS["binary"], rows), **EXACT)


@pytest.mark.parametrize("kind", SETS)
def test_an_empty_shard_changes_nothing(kind: str) -> None:
    rows = example(kind)
    shards = [np.arange(0), np.arange(ROWS), np.arange(0)]
    assert merged(SETS[kind], rows, shards) == pytest.approx(whole(SETS[kind], rows), **EXACT)
    nothing = merged(SETS[kind], rows, [np.arange(0)])
    assert np.isnan(list(nothing.values())).all()


@pytest.mark.parametrize("kind", SETS)
def test_merging_leaves_the_other_as_it_was(kind: str) -> None:
    rows = example(kind)
    first, second = SETS[kind].empty(), SETS[kind].empty()
    first.update(**rows)
    second.update(**{name: values[:50] for name, values in rows.items()})
    before = second.compute()
    first.merge(second)
    first.update(**rows)
    assert second.compute() == before


@pytest.mark.parametrize("kind", SETS)
def test_a_pickled_state_goes_on(kind: str) -> None:
    rows = example(kind)
    metric = SETS[kind].empty()
    metric.update(**{name: values[:100] for name, values in rows.items()})
    travelled = pickle.loads(pickle.dumps(metric))
    assert travelled.compute() == metric.compute()
    travelled.update(**{name: values[100:] for name, values in rows.items()})
    assert travelled.compute() == pytest.approx(whole(metric, rows), **EXACT)


@pytest.mark.parametrize("kind", SETS)
def test_a_weight_is_a_multiplicity(kind: str) -> None:
    rows = example(kind)
    times = np.random.default_rng(5).integers(0, 4, size=ROWS)
    repeated = {name: np.repeat(values, times, axis=0) for name, values in rows.items() if name != "weight"}
    assert whole(SETS[kind], rows | {"weight": times}) == pytest.approx(whole(SETS[kind], repeated), **EXACT)


def test_names_of_all_values_are_known_to_early_stopping() -> None:
    names = {name for metric in SETS.values() for name in metric.compute()}
    assert names - set(GREATER_IS_BETTER) == {"predicted_over_observed", "coverage"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (RankingMetrics(), LogLossMetrics()),
        (ThresholdMetrics(0.5), ThresholdMetrics(0.4)),
        (CalibrationMetrics(15), CalibrationMetrics(10)),
        (RegressionMetrics(), RegressionMetrics(log1p=True)),
        (MulticlassMetrics(3), MulticlassMetrics(4)),
        (MetricSet(binary_metrics()), MetricSet(binary_metrics(grouped=True))),
    ],
)
def test_different_metrics_do_not_merge(one: Metric, other: Metric) -> None:
    with pytest.raises(ValueError, match="cannot merge"):
        one.merge(other)


def test_a_set_gives_each_name_once() -> None:
    with pytest.raises(ValueError, match="log_loss"):
        MetricSet({"binary": LogLossMetrics(), "classes": MulticlassMetrics(3)})


def test_group_keys_stay_of_one_kind() -> None:
    metric = GroupedRankingMetrics()
    metric.update(np.array([0.1, 0.2]), np.array([0, 1]), group=np.array([1, 1]))
    with pytest.raises(ValueError, match="group keys were"):
        metric.update(np.array([0.1, 0.2]), np.array([0, 1]), group=np.array(["a", "a"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": np.array([0, 2])}, "labels 0 and 1"),
        ({"label": np.array([0, np.nan])}, "label is not finite"),
        ({"label": np.array([0])}, "not \\[n\\]"),
        ({"prediction": np.array([0.5, 1.5])}, "outside \\[0, 1\\]"),
        ({"weight": np.array([1.0, -1.0])}, "negative"),
        ({"weight": np.array([1.0])}, "weight has shape"),
        ({"group": None}, "group of every row"),
        ({"group": np.array([0.5, 1.5])}, "integers or strings"),
        ({"group": np.array([1])}, "group has shape"),
    ],
)
def test_rows_that_no_metric_can_use(change: dict[str, Any], message: str) -> None:
    rows: dict[str, Any] = {"prediction": np.array([0.2, 0.7]), "label": np.array([0, 1]), "group": np.array([1, 1])}
    with pytest.raises(ValueError, match=message):
        SETS["binary"].empty().update(**(rows | change))


def test_a_model_that_diverged_is_named_as_such() -> None:
    with pytest.raises(MtlRayError, match="not finite in 1 of 2 rows"):
        RankingMetrics().update(np.array([0.5, np.nan]), np.array([0, 1]))
