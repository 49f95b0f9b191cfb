"""What one feature's column holds, part by part."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.contract.types import fits
from mtl_ray.data.distributions import CategoryCounts, NumberDistribution
from mtl_ray.data.numeric_transforms import numeric_values
from mtl_ray.data.service_spec import FeatureSpec
from mtl_ray.data.splits import PARTS
from mtl_ray.data.vocabularies import category_values
from mtl_ray.schema import Settings

Distribution = NumberDistribution | CategoryCounts
ByPart = tuple[int, int, int]
"""Numbers of rows, in the order of PARTS."""

_T = TypeVar("_T")

COMPARED = ("train", "test")
"""Parts whose distributions are kept, to be compared."""


class FeatureCounts(Settings):
    """Everything but the distributions."""

    types: tuple[str, ...]
    """Arrow types of the column, each once, sorted; more than one where buckets differ."""
    fits: bool
    """Whether all of them can hold the declared type."""
    rows: ByPart
    missing: ByPart
    minimum: float | None
    """Of all parts' numbers; None without any, and for categories and lists."""
    maximum: float | None

    @classmethod
    def of(cls, feature: FeatureSpec, column: pa.ChunkedArray, parts: np.ndarray, missing: np.ndarray) -> FeatureCounts:
        """`parts`: int8 `[rows]`, index into PARTS; `missing`: `missing_rows(column, feature)`."""
        fitting = fits(column.type, feature)
        low, high = _ends(column) if fitting and feature.encoding == "numeric" else (None, None)
        return cls(
            types=(str(column.type),),
            fits=fitting,
            rows=count_by_part(parts),
            missing=count_by_part(parts[missing]),
            minimum=low,
            maximum=high,
        )

    @staticmethod
    def merged(counts: Iterable[FeatureCounts]) -> FeatureCounts:
        """Of all rows of `counts`, which is not empty."""
        counts = list(counts)
        types = {kind for item in counts for kind in item.types}
        return FeatureCounts(
            types=tuple(sorted(types - {"null"} or types)),  # a bucket without any value has no type of its own
            fits=all(item.fits for item in counts),
            rows=add_parts(item.rows for item in counts),
            missing=add_parts(item.missing for item in counts),
            minimum=min((item.minimum for item in counts if item.minimum is not None), default=None),
            maximum=max((item.maximum for item in counts if item.maximum is not None), default=None),
        )


def has_distribution(feature: FeatureSpec) -> bool:
    """Whether the values of `feature` are counted, so that their drift can be told."""
    return feature.encoding not in ("vector", "times")


def feature_distributions(feature: FeatureSpec, column: pa.ChunkedArray, parts: np.ndarray) -> dict[str, Distribution]:
    """The values of each part in COMPARED; none where the column's type does not fit, and of vectors and times.

    Lists count their values.

    Raises `DataError` for a category with fractions.
    """
    if not has_distribution(feature) or not fits(column.type, feature):
        return {}
    found: dict[str, Distribution] = {}
    for part in COMPARED:
        values = column.filter(pa.array(parts == PARTS.index(part)))
        if feature.encoding == "numeric":
            found[part] = NumberDistribution.of(numeric_values(values, feature.name))
        else:
            values = _flat(values) if feature.encoding == "list" else values
            found[part] = CategoryCounts.of(category_values(values, feature.name))
    return found


def merged_distribution(parts: Iterable[Distribution], column: str) -> Distribution:
    """The distribution of all rows of `parts` (all of one kind, at least one), which is read once.

    Raises `DataError` naming `column` where one part holds text and another integers.
    """
    iterator = iter(parts)
    first = next(iterator)
    if isinstance(first, NumberDistribution):
        return NumberDistribution.merged(_chained(first, iterator, NumberDistribution))
    return CategoryCounts.merged(_chained(first, iterator, CategoryCounts), column)


def count_by_part(parts: np.ndarray) -> ByPart:
    """`parts`: int8 `[rows]`, index into PARTS."""
    train, validation, test = np.bincount(parts, minlength=len(PARTS)).tolist()
    return train, validation, test


def add_parts(counts: Iterable[ByPart]) -> ByPart:
    """The sum of each part's counts."""
    train, validation, test = (sum(column) for column in zip((0, 0, 0), *counts, strict=True))
    return train, validation, test


def _chained(first: _T, others: Iterable[Distribution], kind: type[_T]) -> Iterable[_T]:
    yield first
    for other in others:
        assert isinstance(other, kind)
        yield other


def _flat(lists: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return pa.nulls(0) if pa.types.is_null(lists.type) else pc.list_flatten(lists)


def _ends(column: pa.ChunkedArray) -> tuple[float | None, float | None]:
    values = numeric_values(column, "")
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (None, None)
