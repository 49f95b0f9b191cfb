"""Paired differences: those of a brute-force loop over resampled rows, and narrower than two separate intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, roc_auc_score

from mtl_ray.errors import MtlRayError
from mtl_ray.evaluation.bootstrap import bootstrap_intervals
from mtl_ray.evaluation.differences import Difference, PairedDifference, task_differences, verdict
from mtl_ray.metrics import MetricSet, MulticlassMetrics, RankingMetrics, RegressionMetrics, binary_metrics
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, MulticlassTaskConfig

ROWS, GROUPS, REPLICATES = 300, 40, 60


def example(seed: int = 5) -> dict[str, np.ndarray]:
    """One hard row is hard for both: two noisy views of the same probability."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=ROWS)
    label = (rng.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(float)
    noise = rng.normal(size=ROWS)
    first, second = (1 / (1 + np.exp(-(logit + noise + extra * rng.normal(size=ROWS)))) for extra in (0.6, 0.1))
    return {"label": label, "first": first, "second": second, "group": rng.integers(GROUPS, size=ROWS)}


def brute_force(metric: Any, label: np.ndarray, first: np.ndarray, second: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Percentiles of the differences over the draws that the bootstrap makes, one loop a replicate, one a unit."""
    keys = np.unique(unit)
    generator = np.random.default_rng(0)
    found = []
    for _ in range(REPLICATES):
        drawn = generator.integers(len(keys), size=len(keys))
        rows = np.concatenate([np.flatnonzero(unit == keys[at]) for at in drawn])
        found.append(metric(label[rows], second[rows]) - metric(label[rows], first[rows]))
    value = metric(label, second) - metric(label, first)
    low, high = np.quantile(found, [0.025, 0.975])
    return np.array([min(low, value), max(high, value)])


@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_are_those_of_a_loop_over_resampled_rows(grouped: bool) -> None:
    data = example()
    both = np.stack([data["first"], data["second"]], axis=1)
    group = data["group"] if grouped else None
    unit = data["group"] if grouped else np.arange(ROWS)
    paired = PairedDifference(MetricSet(binary_metrics()))
    found = bootstrap_intervals(paired, both, data["label"], group=group, replicates=REPLICATES)
    for name, metric in (("roc_auc", roc_auc_score), ("log_loss", log_loss)):
        expected = brute_force(metric, data["label"], data["first"], data["second"], unit)
        np.testing.assert_allclose(np.array(found[name]), expected, rtol=0, atol=1e-9, err_msg=name)


def test_intervals_of_numbers_and_of_classes_too() -> None:
    rng = np.random.default_rng(3)
    label = rng.normal(size=ROWS)
    first, second = label + rng.normal(size=ROWS), label + 0.9 * rng.normal(size=ROWS)
    both = np.stack([first, second], axis=1)
    found = bootstrap_intervals(PairedDifference(RegressionMetrics()), both, label, replicates=REPLICATES)
    rmse = brute_force(lambda y, p: mean_squared_error(y, p) ** 0.5, label, first, second, np.arange(ROWS))
    np.testing.assert_allclose(np.array(found["rmse"]), rmse, rtol=0, atol=1e-9)
    classes = rng.integers(3, size=ROWS).astype(float)
    sides = [rng.dirichlet(np.ones(3), size=ROWS) for _ in range(2)]
    both = np.concatenate(sides, axis=1)
    found = bootstrap_intervals(PairedDifference(MulticlassMetrics(3)), both, classes, replicates=REPLICATES)
    accuracy = brute_force(lambda y, p: accuracy_score(y, p.argmax(axis=1)), classes, *sides, np.arange(ROWS))
    np.testing.assert_allclose(np.array(found["accuracy"]), accuracy, rtol=0, atol=1e-9)


def test_pairing_takes_out_what_is_hard_for_both() -> None:
    data = example()
    both = np.stack([data["first"], data["second"]], axis=1)
    paired = bootstrap_intervals(PairedDifference(RankingMetrics()), both, data["label"])["roc_auc"]
    alone = bootstrap_intervals(RankingMetrics(), data["second"], data["label"])["roc_auc"]
    assert paired is not None
    assert alone is not None
    assert paired.high - paired.low < 0.7 * (alone.high - alone.low)


def test_shards_merge_to_the_whole() -> None:
    data = example()
    both = np.stack([data["first"], data["second"]], axis=1)
    whole, left, right = (PairedDifference(RankingMetrics()) for _ in range(3))
    whole.update(both, data["label"])
    left.update(both[:100], data["label"][:100])
    right.update(both[100:], data["label"][100:])
    left.merge(right)
    assert left.compute() == pytest.approx(whole.compute())
    expected = roc_auc_score(data["label"], data["second"]) - roc_auc_score(data["label"], data["first"])
    assert whole.compute()["roc_auc"] == pytest.approx(expected)


def predictions(task: str, prediction: Any, label: np.ndarray, observed: np.ndarray, group: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "row_id": np.arange(len(label)),
            "user_id": group,
            f"{task}__label": label.astype(np.float32),
            f"{task}__observed": observed,
            f"{task}__prediction": prediction,
        }
    )


def differences(of: pa.Table, against: pa.Table, **changes: Any) -> list[Difference]:
    settings: dict[str, Any] = {"group_by": "user_id", "replicates": 50, "confidence": 0.95, "seed": 0}
    settings |= {"statistics": LabelStatistics(observed=ROWS, mean=0.5)}
    metrics = ("roc_auc", "gauc", "log_loss")
    return task_differences(
        ("new", of), ("old", against), "click", BinaryTaskConfig(), metrics, **{**settings, **changes}
    )


def test_a_task_is_compared_in_its_observed_rows_alone() -> None:
    data = example()
    observed = np.random.default_rng(1).random(ROWS) < 0.6
    old, new = (
        predictions("click", data[side].astype(np.float32), data["label"], observed, data["group"])
        for side in ("first", "second")
    )
    found = {item.metric: item for item in differences(new, old)}
    assert list(found) == ["roc_auc", "gauc", "log_loss"]
    auc = found["roc_auc"]
    label = data["label"][observed]
    assert auc.value == pytest.approx(roc_auc_score(label, data["second"][observed]), abs=1e-6)
    assert auc.reference == pytest.approx(roc_auc_score(label, data["first"][observed]), abs=1e-6)
    assert auc.difference == pytest.approx(auc.value - auc.reference)
    assert auc.low <= auc.difference <= auc.high
    back = {item.metric: item for item in differences(old, new)}
    for name, item in found.items():
        assert back[name].difference == pytest.approx(-item.difference)
        assert back[name].low == pytest.approx(-item.high)
        mirrored = {"better": "worse", "worse": "better"}
        assert back[name].verdict == mirrored.get(item.verdict, item.verdict)


def test_equal_models_differ_by_nothing() -> None:
    data = example()
    table = predictions(
        "click", data["first"].astype(np.float32), data["label"], np.ones(ROWS, dtype=bool), data["group"]
    )
    for item in differences(table, table, group_by=None):
        assert (item.difference, item.low, item.high, item.verdict) == (0.0, 0.0, 0.0, "within noise")


def test_a_task_of_one_class_is_not_judged() -> None:
    data = example()
    table = predictions("click", data["first"], np.ones(ROWS), np.ones(ROWS, dtype=bool), data["group"])
    auc = differences(table, table)[0]
    assert (auc.value, auc.difference, auc.low, auc.verdict) == (None, None, None, "not defined")


def test_classes_are_read_from_lists() -> None:
    rng = np.random.default_rng(2)
    label = rng.integers(3, size=ROWS).astype(float)
    sides = [rng.dirichlet(np.ones(3), size=ROWS).astype(np.float32) for _ in range(2)]
    tables = [
        predictions(
            "click",
            pa.FixedSizeListArray.from_arrays(pa.array(side.reshape(-1)), 3),
            label,
            np.ones(ROWS, dtype=bool),
            label,
        )
        for side in sides
    ]
    (item,) = task_differences(
        ("new", tables[1]),
        ("old", tables[0]),
        "click",
        MulticlassTaskConfig(classes=(1, 2, 3)),
        ("accuracy", "roc_auc"),
        group_by=None,
        statistics=LabelStatistics(observed=ROWS, class_counts=(100, 100, 100)),
        replicates=20,
        confidence=0.95,
        seed=0,
    )
    accuracy = [accuracy_score(label, side.argmax(axis=1)) for side in sides]
    assert (item.reference, item.value) == pytest.approx(accuracy)


def test_other_rows_are_refused() -> None:
    data = example()
    table = predictions("click", data["first"], data["label"], np.ones(ROWS, dtype=bool), data["group"])
    with pytest.raises(MtlRayError, match="new and of old are not of the same rows"):
        differences(table, table.slice(1))
    flipped = predictions("click", data["first"], 1 - data["label"], np.ones(ROWS, dtype=bool), data["group"])
    with pytest.raises(MtlRayError, match="labels of click that new and old were judged by are not the same"):
        differences(table, flipped)


def test_which_side_of_zero_is_good_depends_on_the_metric() -> None:
    assert verdict("roc_auc", (0.01, 0.02)) == "better"
    assert verdict("roc_auc", (-0.02, -0.01)) == "worse"
    assert verdict("log_loss", (0.01, 0.02)) == "worse"
    assert verdict("rmse", (-0.02, -0.01)) == "better"
    assert verdict("rmse", (-0.02, 0.0)) == "within noise"
    assert verdict("rmse", None) == "not defined"
