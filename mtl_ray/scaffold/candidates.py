"""From the columns of one table to described input candidates: dates are taken apart, leaks are found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow as pa

from mtl_ray.scaffold.columns import Column, describe
from mtl_ray.scaffold.dates import clock_of, parts_of, share_after
from mtl_ray.scaffold.labels import Label
from mtl_ray.scaffold.leaks import leak_reason, sampled_rows
from mtl_ray.scaffold.names import unique_name
from mtl_ray.scaffold.values import Values

_FUTURE = 0.01
"""Share of dates after the row's own time from which a date column counts as a leak."""

Align = Callable[[Values], Values]
"""A column of a feature table -> the same at each spine row."""


def candidates(
    names: dict[str, str],
    values: dict[str, Values],
    times: pa.Array | None,
    keep: frozenset[str],
    labels: Sequence[Label],
    taken: set[str],
    align: Align = lambda column: column,
    prefix: str = "",
) -> tuple[list[Column], list[str]]:
    """A described column for each of `names` (name in the file -> safe name), in order, and notes on what was read.

    `times`: timestamp[us, UTC] of the table's rows, or None; ages of dates count to them. Derived names are added to
    `taken`. `prefix` names the table in the notes, where there are several.
    """
    found: list[Column] = []
    notes: list[str] = []
    for original, name in names.items():
        column = values[original]
        kept = original in keep
        if column.note:
            notes.append(f"{prefix}{original!r}: {column.note}")
        if column.kind != "time":
            found.append(describe(name, original, column, kept))
            continue
        late = share_after(column, times) if times is not None else 0.0
        parts = parts_of(column, times)
        derived = [
            describe(unique_name(f"{name}_{part}", taken), original, part_values, kept)
            for part, part_values in parts.items()
        ]
        if late > _FUTURE:
            reason = f"{late:.1%} of its dates lie after the row's own time"
            derived = [_leak(one, reason, kept) for one in derived]
        notes.append(f"{prefix}{original!r}: a date, read as {', '.join(one.name for one in derived)}")
        if times is None:
            notes.append(
                f"{prefix}{original!r}: say --timestamp {original!r} if it is the time at which a row happened"
            )
        found.extend(derived)
    return _without_leaks(found, labels, keep, align), notes


def clock_columns(name: str, original: str, times: pa.Array, taken: set[str]) -> list[Column]:
    """Weekday and hour of the rows' own times."""
    parts = clock_of(Values("time", times))
    return [
        describe(unique_name(f"{name}_{part}", taken), original, part_values, False)
        for part, part_values in parts.items()
    ]


def _without_leaks(columns: list[Column], labels: Sequence[Label], keep: frozenset[str], align: Align) -> list[Column]:
    rows = sampled_rows(len(labels[0].numbers))
    checked = []
    for column in columns:
        if column.warning not in ("constant", "unsupported", "leak"):
            reason = leak_reason(align(column.values), labels, rows)
            if reason:
                column = _leak(column, reason, column.original in keep)
        checked.append(column)
    return checked


def _leak(column: Column, reason: str, keep: bool) -> Column:
    return replace(column, warning="leak", reason=reason, used=keep and column.encoding is not None)
