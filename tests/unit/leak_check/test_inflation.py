"""What is called a leak, against scikit-learn, the definition of the bootstrap and scores drawn from known models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mtl_ray.leak_check.auc_difference import AucDifference
from mtl_ray.leak_check.inflation import inflations, unchanged
from mtl_ray.leak_check.short_training import Scores
from mtl_ray.metrics import Metric
from mtl_ray.metrics.metric import Rows, Units

USERS = 150


def scores(label: np.ndarray, strength: float, seeds: int, draw: Any) -> Scores:
    """Predictions that know the label with `strength`, the same by every seed."""
    prediction = 1.0 / (1.0 + np.exp(-(strength * label + draw.normal(size=label.size))))
    return of(label, np.repeat(prediction[:, None], seeds, axis=1).astype(np.float32))


def of(label: np.ndarray, prediction: np.ndarray) -> Scores:
    rows = np.arange(label.size)
    observed = {"click": np.ones(label.size, dtype=bool)}
    return Scores(rows, rows % USERS, {"click": label.astype(np.float32)}, observed, {"click": prediction})


@pytest.fixture
def draw() -> Any:
    return np.random.default_rng(5)


@pytest.fixture
def label(draw: Any) -> np.ndarray:
    found: np.ndarray = (draw.random(3000) < 0.3).astype(float)
    return found


def judged(exact: Scores, naive: dict[str, Scores], confidence: float = 0.95) -> Any:
    found = inflations(exact, naive, ["click"], confidence=confidence, seed=0)
    return {name: tasks["click"] for name, tasks in found.items()}


def test_the_difference_is_scikit_learns(draw: Any, label: np.ndarray) -> None:
    prediction = draw.random((label.size, 4)) + 0.2 * label[:, None] * np.arange(4)
    aucs = [roc_auc_score(label, column) for column in prediction.T]
    metric = AucDifference(4)
    for rows in np.array_split(np.arange(label.size), 3):
        part = metric.empty()
        part.update(prediction[rows], label[rows])
        metric.merge(part)
    expected = (aucs[2] + aucs[3]) / 2 - (aucs[0] + aucs[1]) / 2
    assert metric.compute()["difference"] == pytest.approx(expected, abs=1e-12)


def test_resampling_is_the_definition(draw: Any, label: np.ndarray) -> None:
    prediction = np.round(draw.random((label.size, 2)) + 0.2 * label[:, None], 1)  # ties
    rows = Rows.checked(prediction, label, None, None)
    units = Units(np.arange(label.size) % USERS, USERS)
    counts = draw.integers(0, 3, (5, USERS)).astype(float)
    metric = AucDifference(2)
    fast = metric.resampler(rows, units)(counts)["difference"]
    slow = Metric.resampler(metric, rows, units)(counts)["difference"]
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-12)


def test_a_stronger_model_is_a_leak_a_weaker_one_is_lower(draw: Any, label: np.ndarray) -> None:
    exact = scores(label, 1.0, 2, draw)
    found = judged(exact, {"more": scores(label, 2.0, 2, draw), "less": scores(label, 0.1, 2, draw)})
    more, less = found["more"], found["less"]
    assert (more.verdict, less.verdict) == ("leak", "lower")
    assert more.rows == label.size
    assert more.inflation == pytest.approx(more.naive - more.point_in_time)
    assert more.point_in_time == pytest.approx(roc_auc_score(label, exact.prediction["click"][:, 0]), abs=2e-3)


def test_the_interval_holds_at_its_level(label: np.ndarray) -> None:
    """Two models of one strength, drawn 150 times: an honest 95 % interval misses 0 about 7 times."""
    missed = 0
    for number in range(150):
        draw = np.random.default_rng(number)
        label = (draw.random(400) < 0.3).astype(float)
        found = judged(scores(label, 1.0, 1, draw), {"same": scores(label, 1.0, 1, draw)})["same"]
        missed += found.verdict != "within noise"
    assert 1 <= missed <= 16


def test_many_intervals_are_wider(draw: Any, label: np.ndarray) -> None:
    exact, naive = scores(label, 1.0, 2, draw), scores(label, 1.2, 2, draw)
    alone = judged(exact, {"a": naive})["a"]
    many = judged(exact, dict.fromkeys("abcdefgh", naive))["a"]
    assert many.inflation == alone.inflation
    # 95 % over 8 intervals: the normal quantiles of 0.975 and 1 - 0.05 / 16.
    assert (many.high - many.low) / (alone.high - alone.low) == pytest.approx(2.7344 / 1.9600, rel=1e-3)


def test_trainings_that_differ_widen_the_interval(draw: Any, label: np.ndarray) -> None:
    noise = draw.normal(size=(label.size, 1))

    def by_seed(*strengths: float) -> Scores:
        return of(label, (label[:, None] * np.array(strengths) + noise).astype(np.float32))

    exact, naive = by_seed(0.6, 1.4), by_seed(1.0, 1.8)
    wide = judged(exact, {"a": naive})["a"]
    narrow = judged(by_seed(1.0, 1.0), {"a": by_seed(1.4, 1.4)})["a"]
    aucs = [[roc_auc_score(label, column) for column in side.prediction["click"].T] for side in (exact, naive)]
    variance = np.var(aucs, axis=1, ddof=1).mean()
    half, least = (wide.high - wide.low) / 2, 1.96 * np.sqrt(variance)
    assert half > least > 0.01
    # What is left of it is the bootstrap's, which the strengths change little.
    assert np.sqrt(half**2 - least**2) == pytest.approx((narrow.high - narrow.low) / 2, rel=0.4)


def test_rows_that_one_set_lacks_count_in_neither(draw: Any, label: np.ndarray) -> None:
    exact, naive = scores(label, 1.0, 1, draw), scores(label, 1.5, 1, draw)
    kept = np.flatnonzero(np.arange(label.size) % 3 > 0)
    less = Scores(
        kept,
        kept % USERS,
        {"click": naive.label["click"][kept]},
        {"click": naive.observed["click"][kept]},
        {"click": naive.prediction["click"][kept]},
    )
    found = judged(exact, {"a": less})["a"]
    assert found.rows == kept.size
    expected = roc_auc_score(label[kept], exact.prediction["click"][kept, 0])
    assert found.point_in_time == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("positives", [0, 9, 41])
def test_too_few_rows_of_a_class_define_nothing(draw: Any, positives: int) -> None:
    label = np.repeat([0.0, 1.0], [50 - positives, positives])
    found = judged(scores(label, 1.0, 2, draw), {"a": scores(label, 2.0, 2, draw)})["a"]
    assert (found.verdict, found.inflation, found.low, found.point_in_time) == ("not defined", None, None, None)
    assert unchanged(found).verdict == "none"
