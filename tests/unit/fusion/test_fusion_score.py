"""The ranking score and its tuning, against what was planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mtl_ray.fusion import Fusion, FusionConfig
from mtl_ray.fusion.tune import tuned

ROWS = 4000


def planted(seed: int = 0) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """A purchase whose odds hang on exp(2 a - b), of which the predictions are exp(a), exp(b) and noise."""
    random = np.random.default_rng(seed)
    a, b, noise = random.normal(size=(3, ROWS))
    purchase = (random.random(ROWS) < 1 / (1 + np.exp(-(2 * a - b)))).astype(np.float64)
    predictions = {name: np.exp(values).astype(np.float32) for name, values in (("a", a), ("b", b), ("c", noise))}
    labels = {"purchase": (purchase, random.random(ROWS) < 0.9)}
    return predictions, labels, random.integers(0, 50, ROWS)


def config(**fields: Any) -> FusionConfig:
    return FusionConfig.model_validate(
        {
            "weights": {"a": 1.0, "b": -1.0, "c": 1.0},
            "tune": {"metric": "validation/purchase/roc_auc", "trials": 100},
            **fields,
        }
    )


def test_a_product_is_given_as_its_logarithm() -> None:
    fusion = Fusion(formula="product", weights={"p": 2.0, "q": -0.5}, declared={})
    p, q = np.array([0.5, 0.1, 0.0]), np.array([0.2, 4.0, 1.0])
    expected = np.log(np.array([0.5**2 * 0.2**-0.5, 0.1**2 * 4**-0.5, 1e-24]))
    np.testing.assert_allclose(fusion.score({"p": p, "q": q, "other": p}), expected, rtol=1e-12)


def test_a_sum_is_weighted() -> None:
    fusion = Fusion(formula="sum", weights={"p": 2.0, "q": -0.5}, declared={})
    np.testing.assert_allclose(fusion.score({"p": np.array([0.5]), "q": np.array([4.0])}), [-1.0], rtol=1e-12)


def test_tuning_finds_the_planted_weights() -> None:
    predictions, labels, groups = planted()
    fusion = tuned(config(), predictions, labels, groups, seed=0)
    label, observed = labels["purchase"]
    value = roc_auc_score(label[observed], fusion.score(predictions)[observed])
    best = roc_auc_score(label[observed], (2 * np.log(predictions["a"]) - np.log(predictions["b"]))[observed])
    assert fusion.value == pytest.approx(value, abs=1e-12)
    assert fusion.value_of_declared is not None
    assert fusion.value > fusion.value_of_declared + 0.02
    assert fusion.value > best - 0.003
    assert fusion.weights["b"] < 0 < fusion.weights["a"]
    assert abs(fusion.weights["c"]) < 0.15 * fusion.weights["a"]


def test_the_same_seed_gives_the_same_weights_and_gauc_is_within_groups() -> None:
    predictions, labels, groups = planted()
    by_group = config(tune={"metric": {"validation/purchase/gauc": 2.0}, "trials": 20})
    first, second = (tuned(by_group, predictions, labels, groups, seed=3) for _ in range(2))
    assert first == second
    score, (label, observed) = first.score(predictions)[labels["purchase"][1]], labels["purchase"]
    total = weight = 0.0
    for group in np.unique(groups):
        rows = groups[observed] == group
        total += rows.sum() * roc_auc_score(label[observed][rows], score[rows])
        weight += rows.sum()
    assert first.value == pytest.approx(2.0 * total / weight, abs=1e-12)


def test_declared_weights_stay_where_nothing_is_better_or_defined() -> None:
    predictions, labels, groups = planted()
    alone = config(weights={"a": 1.0})
    assert tuned(alone, predictions, labels, groups, seed=0).weights == {"a": 1.0}
    label, observed = labels["purchase"]
    one_class = {"purchase": (np.ones_like(label), observed)}
    assert tuned(config(), predictions, one_class, groups, seed=0) == Fusion.as_declared(config())
