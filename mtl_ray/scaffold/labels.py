"""Labels of a flat table: the task type of each, its column in the spine, and what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.errors import ConfigError, DataError, nearest
from mtl_ray.scaffold.names import safe_name
from mtl_ray.scaffold.values import Values

LabelType = Literal["binary", "multiclass", "regression"]

NEGATIVE = (
    "0",
    "0.0",
    "-1",
    "n",
    "no",
    "f",
    "false",
    "off",
    "bad",
    "negative",
    "neg",
    "fail",
    "failed",
    "lost",
    "dead",
)
"""Texts, in lower case, of which the label is 0; of any other pair the first in order is 0."""

MOST_CLASSES = 200
MOST_GUESSED_CLASSES = 20
FEWEST_ROWS = 10
"""A class with fewer rows is pointed out."""


@dataclass(frozen=True, eq=False)
class Label:
    """One label of the project."""

    name: str
    original: str
    column: pa.Array
    """The spine's column; NULL where not observed."""
    task: dict[str, Any]
    """Its node under `tasks` in the config."""
    numbers: np.ndarray
    """float64 `[rows]`: 0 or 1, the class index or the amount; NaN where not observed."""
    notes: tuple[str, ...]

    @property
    def type(self) -> str:
        return str(self.task["type"])

    @property
    def observed(self) -> int:
        return int(np.count_nonzero(~np.isnan(self.numbers)))


def parse_label(text: str, columns: list[str]) -> tuple[str, LabelType | None]:
    """`NAME:TYPE` or `NAME` as (column, type). A column whose own name holds a colon may be named in full.

    Raises `ConfigError` for a type that does not exist and a column that is not in `columns`.
    """
    types = get_args(LabelType)
    name, colon, kind = text.rpartition(":")
    if colon and kind in types:
        chosen: LabelType | None = kind  # type: ignore[assignment]
    elif colon and text not in columns:
        guess = nearest(kind, types)
        raise ConfigError(
            "There is no such label type.",
            where=f"--label {text}",
            found=kind or "nothing after the colon",
            allowed=", ".join(types),
            fix=f"did you mean {name}:{guess}?" if guess else "leave the type out to have it guessed",
        )
    else:
        name, chosen = text, None
    return column_named(name, columns, "--label"), chosen


def column_named(name: str, columns: list[str], option: str) -> str:
    """`name`, if it is one of `columns`. Raises `ConfigError` with the nearest one."""
    if name in columns:
        return name
    by_safe = {safe_name(column): column for column in columns}
    guess = by_safe.get(safe_name(name)) or nearest(name, columns)
    raise ConfigError(
        f"The table has no column {name!r}.",
        where=option,
        found=f"columns {', '.join(columns)}",
        fix=f"did you mean {guess!r}?" if guess else "correct the name",
    )


def make_label(name: str, original: str, values: Values, kind: LabelType | None) -> Label:
    """The label of a column, of type `kind` or of the type that its values suggest. Raises `DataError`."""
    if values.present == 0:
        raise DataError(f"The label {original!r} holds no value.", where=f"column {original}")
    if values.distinct == 1:
        only = values.array.drop_null()[0].as_py()
        raise DataError(
            f"The label {original!r} has one value in all rows: there is nothing to learn.",
            where=f"column {original}",
            found=repr(only),
            allowed="at least two different values; NULL means that the label was not observed, not that it is 0",
        )
    notes = [] if values.note is None else [values.note]
    if kind is None:
        kind = _guess(values, original)
        notes.append(f"type guessed: {kind} (say --label '{original}:TYPE' for another)")
    make = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[kind]
    return make(name, original, values, notes)


def _guess(values: Values, original: str) -> LabelType:
    if values.kind not in ("truth", "integer", "number", "text"):
        raise _unusable(values, original, "a label")
    if values.distinct == 2:
        return "binary"
    if values.kind == "text":
        return "multiclass"
    if values.kind == "integer":
        return "multiclass" if values.distinct <= MOST_GUESSED_CLASSES // 2 else "regression"
    return "regression"


def _binary(name: str, original: str, values: Values, notes: list[str]) -> Label:
    if values.kind not in ("truth", "integer", "number", "text"):
        raise _unusable(values, original, "binary")
    found = sorted(pc.unique(values.array.drop_null()).to_pylist())
    if len(found) > 2:
        shown = ", ".join(map(repr, found[:6])) + (", ..." if len(found) > 6 else "")
        other = "multiclass" if values.kind == "text" or len(found) <= MOST_GUESSED_CLASSES else "regression"
        raise DataError(
            f"The binary label {original!r} has more than two values.",
            where=f"column {original}",
            found=f"{len(found)}: {shown}",
            allowed="two different values; NULL where not observed",
            fix=f"say --label '{original}:{other}'",
        )
    if str(found[1]).lower() in NEGATIVE and str(found[0]).lower() not in NEGATIVE:
        found.reverse()
    column = pc.equal(values.array, pa.scalar(found[1], values.array.type)).cast(pa.int8())
    if found != [0, 1] or values.kind == "text":
        notes.append(f"{found[0]!r} is written as 0, {found[1]!r} as 1")
    numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    positive = int(np.nansum(numbers))
    rare = min(positive, len(column) - column.null_count - positive)
    if rare < FEWEST_ROWS:
        notes.append(f"only {rare} rows of one kind: its metrics will say little")
    return Label(name, original, column, {"type": "binary"}, numbers, tuple(notes))


def _multiclass(name: str, original: str, values: Values, notes: list[str]) -> Label:
    if values.kind not in ("integer", "text"):
        raise _unusable(values, original, "multiclass")
    counts = pc.value_counts(values.array.drop_null())
    rows = dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
    classes = sorted(rows)
    if len(classes) > MOST_CLASSES:
        raise DataError(
            f"The multiclass label {original!r} has too many classes.",
            where=f"column {original}",
            found=f"{len(classes)} different values",
            allowed=f"at most {MOST_CLASSES}",
            fix="merge rare classes" if values.kind == "text" else f"say --label '{original}:regression'",
        )
    rare = [value for value in classes if rows[value] < FEWEST_ROWS]
    if rare:
        notes.append(f"fewer than {FEWEST_ROWS} rows of the classes {', '.join(map(repr, rare))}")
    index = pc.index_in(values.array, value_set=pa.array(classes, values.array.type), skip_nulls=True)
    numbers = index.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return Label(name, original, values.array, {"type": "multiclass", "classes": classes}, numbers, tuple(notes))


def _regression(name: str, original: str, values: Values, notes: list[str]) -> Label:
    numbers = values.numbers()
    if values.kind not in ("integer", "number") or numbers is None:
        raise _unusable(values, original, "regression")
    task: dict[str, Any] = {"type": "regression"}
    present = numbers[~np.isnan(numbers)]
    if present.min() >= 0.0 and skewness(present) > 1.0 and abs(skewness(np.log1p(present))) < skewness(present):
        task["transform"] = "log1p"
        notes.append("skewed and never negative: learnt as log(1 + value)")
    return Label(name, original, values.array, task, numbers, tuple(notes))


def skewness(values: np.ndarray) -> float:
    """Third standardised moment of `values [n]`; 0 where they do not vary."""
    deviation = values - values.mean()
    std = deviation.std()
    return float(np.mean((deviation / std) ** 3)) if std > 0.0 else 0.0


def _unusable(values: Values, original: str, kind: str) -> DataError:
    allowed = {
        "binary": "two different numbers, texts or truth values",
        "multiclass": "text or whole numbers",
        "regression": "numbers",
    }.get(kind, "numbers, text or truth values")
    held = {"time": "times", "list": "lists", "truth": "truth values", "number": "fractions", "integer": "integers"}
    return DataError(
        f"The column {original!r} cannot be {kind if kind == 'a label' else f'a {kind} label'}.",
        where=f"column {original}",
        found=f"{held.get(values.kind, values.kind)} (Arrow type {values.array.type})",
        allowed=allowed,
        fix=f"say --label '{original}:binary'" if values.kind == "truth" else "choose another type, or mend the column",
    )
