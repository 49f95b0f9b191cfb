"""What becomes of a column: how it is encoded, or why it is left out."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.scaffold.values import Kind, Values

Encoding = Literal["categorical", "numeric", "list"]
Warning = Literal["leak", "identifier", "constant", "free text", "missing", "unsupported"]

NEARLY_ALL = 0.95
"""Share of distinct values from which text is an identifier, and of missing values from which a column is pointed
out."""

CODE_VALUES = 10
"""Integers with at most so many values, each in many rows, are codes of a category."""

_ROWS_A_CODE = 20
_FEWEST = 20
_LONG_TEXT = 20
_VERY_LONG_TEXT = 50
_WORDS = 3
_ID_NAME = re.compile(r"(^|_)(id|ids|uuid|guid|key|code|zip|zipcode|postal|postcode|sku|isbn|ean|index|unnamed)$")

FEAST_TYPES: dict[Kind, str] = {"truth": "Bool", "integer": "Int64", "number": "Float64", "text": "String"}


@dataclass(frozen=True, eq=False)
class Column:
    """One input candidate of the project."""

    name: str
    original: str
    """Name in the user's table; of a derived column, that of the date."""
    values: Values
    encoding: Encoding | None
    """None: it cannot be an input."""
    warning: Warning | None = None
    reason: str = ""
    used: bool = True
    """Whether the model reads it; the others stay in the Parquet files where Feast has a type for them."""

    @property
    def dtype(self) -> str | None:
        """Feast's name of the type; None where it has none that a model could read."""
        if self.values.kind == "list":
            return "Array(Int64)" if pa.types.is_integer(self.values.array.type.value_type) else "Array(String)"
        return FEAST_TYPES.get(self.values.kind)

    @property
    def missing(self) -> float:
        """Share of the rows without a value."""
        return self.values.array.null_count / max(len(self.values.array), 1)


def describe(name: str, original: str, values: Values, keep: bool) -> Column:
    """`values` with an encoding and the warnings that need no label; `keep` uses it in spite of them."""
    column = Column(name, original, values, _encoding(name, values))
    warning, reason = _warning(name, values, column)
    used = warning in (None, "missing") or (keep and column.encoding is not None)
    return replace(column, warning=warning, reason=reason, used=used)


def _encoding(name: str, values: Values) -> Encoding | None:
    if values.kind in ("truth", "text"):
        return "categorical"
    if values.kind == "list":
        return "list"
    if values.kind == "number":
        return "numeric"
    if values.kind == "integer":
        distinct = values.distinct
        code = distinct <= CODE_VALUES and values.present >= _ROWS_A_CODE * distinct
        return "categorical" if code or _ID_NAME.search(name) else "numeric"
    return None


def _warning(name: str, values: Values, column: Column) -> tuple[Warning | None, str]:
    present, distinct = values.present, values.distinct
    if values.kind == "other":
        return "unsupported", f"type {values.array.type} is no feature"
    if present == 0:
        return "constant", "it holds no value"
    if distinct == 1 and values.array.null_count == 0:
        return "constant", f"every row has {values.comparable[0].as_py()!r}"
    if present >= _FEWEST and _is_free_text(values, distinct / present):
        return "free text", f"{distinct:,} different texts in {present:,} rows"
    if present >= _FEWEST and _is_identifier(name, values, distinct / present):
        return "identifier", f"{distinct:,} different values in {present:,} rows"
    if column.missing > NEARLY_ALL:
        return "missing", f"{column.missing:.1%} of the rows have no value"
    return None, ""


def _is_free_text(values: Values, share: float) -> bool:
    if values.kind != "text" or share < 0.5:
        return False
    texts = values.array.drop_null()
    length = pc.mean(pc.utf8_length(texts)).as_py()
    words = pc.mean(pc.count_substring(texts, " ")).as_py() + 1.0
    if share >= NEARLY_ALL:
        return bool(length >= _LONG_TEXT or words >= _WORDS)
    return bool(length >= _VERY_LONG_TEXT)


def _is_identifier(name: str, values: Values, share: float) -> bool:
    """Almost all values differ, and for integers the name or the way in which they are counted up says so too."""
    if share < NEARLY_ALL or values.kind not in ("text", "integer"):
        return False
    if values.kind == "text" or _ID_NAME.search(name):
        return True
    numbers = values.array.drop_null().to_numpy()
    counted_up = bool(np.all(np.diff(numbers) > 0))
    dense = int(numbers.max()) - int(numbers.min()) < 1.5 * numbers.size
    return counted_up or dense
