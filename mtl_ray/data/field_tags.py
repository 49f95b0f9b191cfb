"""What the tags of a Feast field say about its values: `min`, `max`, `required` and `sequence`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mtl_ray.errors import FeatureStoreError

_NUMBERS = ("Int32", "Int64", "Float32", "Float64")


@dataclass(frozen=True)
class FieldRules:
    """The rules that a field's tags state."""

    minimum: float | None
    maximum: float | None
    required: bool


def field_rules(tags: Mapping[str, str], dtype: str, where: str) -> FieldRules:
    """The rules of a field of Feast type `dtype`; `where` names it in errors.

    Raises `FeatureStoreError` for a limit that is no number, a limit of a field that holds none, an empty range, and
    a `required` that is neither true nor false.
    """
    minimum, maximum = (_limit(tags, name, dtype, where) for name in ("min", "max"))
    if minimum is not None and maximum is not None and minimum > maximum:
        raise FeatureStoreError(
            "The tags `min` and `max` of a field leave no value.",
            where=where,
            found=f"min {minimum:g}, max {maximum:g}",
            allowed="min <= max",
            fix="correct the tags and run `feast apply`",
        )
    required = tags.get("required", "false").strip().lower()
    if required not in ("true", "false"):
        raise FeatureStoreError(
            "The tag `required` of a field is neither true nor false.",
            where=where,
            found=repr(tags["required"]),
            allowed='"true" or "false"',
            fix="correct the tag and run `feast apply`",
        )
    return FieldRules(minimum, maximum, required == "true")


def sequence_name(tags: Mapping[str, str], encoding: str, where: str) -> str | None:
    """The sequence that a field of this encoding belongs to; None: none. `where` names it in errors.

    Raises `FeatureStoreError` for the tag at a field that is neither a list of ids nor times, or without a name.
    """
    name = tags.get("sequence")
    if name is None:
        return None
    if encoding not in ("list", "times"):
        raise FeatureStoreError(
            "The tag `sequence` stands at a field that holds no history.",
            where=where,
            found=f"sequence: {name!r} at encoding {encoding}",
            allowed="lists of ids, and times",
            fix="take the tag away and run `feast apply`",
        )
    if not name.strip():
        raise FeatureStoreError(
            "The tag `sequence` of a field names nothing.",
            where=where,
            found=repr(name),
            allowed='a name, such as sequence: "recent"',
            fix="correct the tag and run `feast apply`",
        )
    return name.strip()


def _limit(tags: Mapping[str, str], name: str, dtype: str, where: str) -> float | None:
    text = tags.get(name)
    if text is None:
        return None
    if dtype not in _NUMBERS:
        raise FeatureStoreError(
            f"The tag `{name}` stands at a field that holds no number.",
            where=where,
            found=f"{name}: {text!r} at type {dtype}",
            allowed=", ".join(_NUMBERS),
            fix="take the tag away and run `feast apply`",
        )
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FeatureStoreError(
            f"The tag `{name}` of a field is no number.",
            where=where,
            found=repr(text),
            allowed=f'a finite number in quotes, such as {name}: "0"',
            fix="correct the tag and run `feast apply`",
        )
    return value
