"""What counts as a leak, and what must not; the statistics against scikit-learn and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import roc_auc_score

from mtl_ray.scaffold.labels import Label, LabelType, make_label
from mtl_ray.scaffold.leaks import correlation, explained, leak_reason, midranks, purity, roc_auc, sampled_rows
from mtl_ray.scaffold.values import read_values

ROWS = 2000
RNG = np.random.default_rng(0)
CLICK = (RNG.random(ROWS) < 0.3).astype(int)
STARS = RNG.integers(1, 6, ROWS)
WAGE = RNG.lognormal(3.0, 0.7, ROWS)
NOISE = RNG.normal(size=ROWS)


def label(values: Any, kind: LabelType) -> Label:
    return make_label("label", "label", read_values(pa.array(values)), kind)


def reason(feature: Any, values: Any, kind: LabelType) -> str | None:
    return leak_reason(read_values(pa.array(feature)), [label(values, kind)], np.arange(len(values)))


@pytest.mark.parametrize(
    ("feature", "values", "kind", "expected"),
    [
        (CLICK, CLICK, "binary", "copy"),
        (np.where(CLICK == 1, "won", "lost"), CLICK, "binary", "its value decides the class"),
        ([7 if click else None for click in CLICK], CLICK, "binary", "missing or not is a copy"),
        (CLICK * 10 + NOISE, CLICK, "binary", "its value decides the class"),
        (np.where(CLICK == 1, STARS + 10, STARS), CLICK, "binary", "its value decides the class"),
        (CLICK * 4.4 + NOISE, CLICK, "binary", "alone it has a ROC-AUC of 0.99"),
        ([f"star {star}" for star in STARS], STARS, "multiclass", "its value decides the class"),
        (STARS * 20.0 + NOISE, STARS, "multiclass", "its value decides the class"),
        (np.log(WAGE), WAGE, "regression", "has a rank correlation of 1.0000"),
        (WAGE * 1.1 + NOISE / 10, WAGE, "regression", "has a correlation of 1.0000"),
        ([f"grade {star}" for star in STARS], STARS * 1000.5, "regression", "its value decides the amount"),
    ],
)
def test_leaks(feature: Any, values: Any, kind: LabelType, expected: str) -> None:
    found = reason(feature, values, kind)
    assert found is not None
    assert expected in found
    assert found.endswith("of label 'label'")


@pytest.mark.parametrize(
    ("feature", "values", "kind"),
    [
        (NOISE, CLICK, "binary"),
        (CLICK * 2.0 + NOISE, CLICK, "binary"),
        ([f"id {row}" for row in range(ROWS)], CLICK, "binary"),
        ([f"id {row % 900}" for row in range(ROWS)], (np.arange(ROWS) % 97 == 0).astype(int), "binary"),
        (STARS + RNG.integers(-1, 2, ROWS), STARS, "multiclass"),
        (WAGE * np.exp(NOISE / 4), WAGE, "regression"),
        ([f"id {row}" for row in range(ROWS)], WAGE, "regression"),
        ([[1], [2]] * (ROWS // 2), CLICK, "binary"),
    ],
)
def test_what_is_no_leak(feature: Any, values: Any, kind: LabelType) -> None:
    assert reason(feature, values, kind) is None


def test_rows_without_the_label_do_not_count() -> None:
    observed = [int(click) if row % 2 else None for row, click in enumerate(CLICK)]
    feature = [int(click) if row % 2 else 1 - int(click) for row, click in enumerate(CLICK)]
    assert reason(feature, observed, "binary") is not None


def test_statistics_against_references() -> None:
    score = np.round(NOISE + CLICK, 1)
    assert roc_auc(score, CLICK) == pytest.approx(roc_auc_score(CLICK, score), abs=1e-12)
    assert roc_auc(score, np.ones(ROWS, dtype=int)) is None
    np.testing.assert_array_equal(midranks(score), rankdata(score))
    assert correlation(midranks(score), midranks(WAGE)) == pytest.approx(spearmanr(score, WAGE).statistic, abs=1e-12)


def test_purity_and_explained_share_by_hand() -> None:
    codes = np.array([0, 0, 0, 1, 1, 2])
    classes = np.array([0, 0, 1, 1, 1, 0])
    # The code of one row is left out: base 3 of 5, right 2 + 2 = 4 of 5, so half of the way.
    assert purity(codes, classes) == 0.5
    assert purity(np.arange(6), classes) == 0.0
    y = np.array([1.0, 3.0, 2.0, 7.0, 9.0, 100.0])
    # Of five rows: within 2 + 2 = 4, in all 47.2.
    assert explained(codes, y) == pytest.approx(1.0 - 4.0 / 47.2, abs=1e-12)


def test_large_tables_are_sampled_and_always_alike() -> None:
    rows = sampled_rows(1_000_000)
    assert rows.size == 200_000
    assert np.all(np.diff(rows) > 0)
    np.testing.assert_array_equal(rows, sampled_rows(1_000_000))
