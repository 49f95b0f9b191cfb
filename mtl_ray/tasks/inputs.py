"""What tasks read beside their labels: the first value that is not allowed."""

from __future__ import annotations

import numpy as np

from mtl_ray.errors import DataError


def check_weight(column: str, values: np.ndarray, observed: np.ndarray) -> None:
    """Raise `DataError` unless `values`, float `[rows]`, are finite and at least 0 where `observed`, bool `[rows]`."""
    refuse_input(
        observed & ~((values >= 0.0) & np.isfinite(values)),
        values,
        column,
        what="sample weight",
        allowed="finite numbers >= 0 in every row that has the task's label",
        fix="correct the column, writing 0 where a row must not count",
    )


def check_finite(column: str, values: np.ndarray, observed: np.ndarray, what: str) -> None:
    """Raise `DataError` unless `values`, float `[rows]`, are finite where `observed`, bool `[rows]`."""
    refuse_input(
        observed & ~np.isfinite(values),
        values,
        column,
        what=what,
        allowed="finite numbers in every row that has the task's label",
        fix="correct the column, or write NULL into the label where it is not known",
    )


def refuse_input(bad: np.ndarray, values: np.ndarray, column: str, what: str, allowed: str, fix: str) -> None:
    """Raise `DataError` for the first row in which `bad`, bool `[rows]`, is true; return if there is none."""
    rows = np.flatnonzero(bad)
    if rows.size == 0:
        return
    others = f", and {rows.size - 1} more rows" if rows.size > 1 else ""
    value = float(values[rows[0]])
    raise DataError(
        f"The {what} {column!r} holds a value that cannot be used.",
        where=f"column {column}, row {rows[0]}",
        found=f"{'missing' if np.isnan(value) else f'{value:g}'}{others}",
        allowed=allowed,
        fix=fix,
    )
