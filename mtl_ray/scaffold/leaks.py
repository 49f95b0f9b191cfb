"""Columns that give a label away: equal to it, or so nearly that one column alone would predict it.

A real feature hardly ever does that; a column that was filled in after the label often does (the day of death, the
log of the wage). What is tested, over the rows in which the label is observed:

- any label: the values are the same numbers;
- classes: whether there is a value, or which one, decides the class (values of at least two rows; numbers in a
  hundred quantile bins); two classes: the ROC-AUC of the number alone;
- amounts: Pearson's or Spearman's correlation; the value (of at least two rows) decides the amount.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.scaffold.labels import Label
from mtl_ray.scaffold.values import Values

THRESHOLD = 0.995
"""AUC (or 1 - AUC), |correlation| and explained share of variance from which a column counts as a leak."""

PURITY = 0.98
"""Share of the way from always saying the commonest class to never being wrong."""

MOST_ROWS = 200_000
"""Larger tables are judged by a sample of this size."""

_FEWEST = 20
_FEWEST_OF_A_CLASS = 5
_BINS = 100


def sampled_rows(rows: int) -> np.ndarray:
    """Positions int64 of the rows that are looked at, the same ones every time."""
    if rows <= MOST_ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False))


def leak_reason(feature: Values, labels: Sequence[Label], rows: np.ndarray) -> str | None:
    """How `feature` gives one of `labels` away in `rows` (positions), in a few words; None where it does not."""
    chosen = feature.take(rows)
    for label in labels:
        found = _reason(chosen, label, label.numbers[rows])
        if found:
            return f"{found} of label {label.original!r}"
    return None


def _reason(feature: Values, label: Label, numbers: np.ndarray) -> str | None:
    observed = np.flatnonzero(~np.isnan(numbers))
    if observed.size < _FEWEST:
        return None
    y = numbers[observed]
    feature = feature.take(observed)
    x = feature.numbers()
    present = pc.is_valid(feature.array).to_numpy(zero_copy_only=False)
    if x is not None and np.array_equal(x[present], y[present]) and 2 * present.sum() >= y.size and np.ptp(y) > 0.0:
        return "copy"
    if label.type == "regression":
        return _against_amount(feature, x, present, y)
    classes = y.astype(np.int64)
    if np.sort(np.bincount(classes))[-2] < _FEWEST_OF_A_CLASS:
        return None
    if purity(present.astype(np.int64), classes) >= PURITY:
        return "missing or not is a copy"
    if x is not None and np.unique(x[present]).size > _BINS:
        cuts = np.quantile(x[present], np.linspace(0.0, 1.0, _BINS + 1)[1:-1])
        codes = np.where(present, np.searchsorted(cuts, x), -1)
    else:
        codes = _codes(feature)
    if purity(codes, classes) >= PURITY:
        return "its value decides the class"
    if x is not None and label.type == "binary" and 2 * present.sum() >= y.size:
        auc = roc_auc(x[present], classes[present])
        if auc is not None and max(auc, 1.0 - auc) >= THRESHOLD:
            return f"alone it has a ROC-AUC of {auc:.4f}"
    return None


def _against_amount(feature: Values, x: np.ndarray | None, present: np.ndarray, y: np.ndarray) -> str | None:
    if x is not None and 2 * present.sum() >= y.size:
        for name, left, right in (
            ("correlation", x[present], y[present]),
            ("rank correlation", midranks(x[present]), midranks(y[present])),
        ):
            r = correlation(left, right)
            if abs(r) >= THRESHOLD:
                return f"has a {name} of {r:.4f} with the values"
    if x is None or feature.kind == "integer":
        share = explained(_codes(feature), y)
        if share is not None and share >= THRESHOLD:
            return "its value decides the amount"
    return None


def purity(codes: np.ndarray, classes: np.ndarray) -> float:
    """How well `codes [n]` decide `classes [n]`, both int64: 0 as the commonest class alone, 1 always right.

    Only codes of at least two rows count; 0 where these are less than half of the rows.
    """
    codes = np.unique(codes, return_inverse=True)[1]
    kept = np.bincount(codes)[codes] >= 2
    if 2 * kept.sum() < codes.size:
        return 0.0
    codes, classes = codes[kept], classes[kept]
    base = np.bincount(classes).max()
    if base == classes.size:
        return 0.0
    width = int(classes.max()) + 1
    cells, counts = np.unique(codes * width + classes, return_counts=True)
    best = np.zeros(int(codes.max()) + 1, dtype=np.int64)
    np.maximum.at(best, cells // width, counts)
    return float((best.sum() - base) / (classes.size - base))


def explained(codes: np.ndarray, y: np.ndarray) -> float | None:
    """Share of the variance of `y [n]` between the `codes [n]` of at least two rows; None where these are less than
    half of the rows."""
    codes = np.unique(codes, return_inverse=True)[1]
    counts = np.bincount(codes)
    kept = counts[codes] >= 2
    if 2 * kept.sum() < codes.size or np.ptp(y[kept]) == 0.0:
        return None
    codes, y = codes[kept], y[kept]
    mean = np.bincount(codes, y) / np.maximum(np.bincount(codes), 1)
    return float(1.0 - np.square(y - mean[codes]).sum() / np.square(y - y.mean()).sum())


def roc_auc(score: np.ndarray, classes: np.ndarray) -> float | None:
    """Area under the ROC curve, ties counted half (Mann and Whitney); None where there is one class."""
    positive = int(classes.sum())
    negative = classes.size - positive
    if positive == 0 or negative == 0:
        return None
    above = midranks(score)[classes == 1].sum() - positive * (positive + 1) / 2
    return float(above / (positive * negative))


def midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, float64 `[n]`; ties share the middle of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle: np.ndarray = ends - (counts - 1) / 2.0
    return middle[inverse]


def correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Pearson's; 0 where one of them does not vary."""
    left, right = left - left.mean(), right - right.mean()
    scale = float(np.sqrt(np.square(left).sum() * np.square(right).sum()))
    return float((left * right).sum() / scale) if scale > 0.0 else 0.0


def _codes(feature: Values) -> np.ndarray:
    """int64 `[n]`: a number for each different value, -1 where missing."""
    encoded = pc.dictionary_encode(pa.array(feature.comparable))
    found: np.ndarray = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return found
