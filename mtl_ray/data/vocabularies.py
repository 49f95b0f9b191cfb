"""Vocabularies: which values of a category have an id of their own.

Ids: 0 missing, 1 unknown (or from 1 on as many as unknown values are hashed into), then the known values by falling
count in the training part, equal counts by rising value.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, PlainSerializer, PlainValidator

from mtl_ray.data.distributions import CategoryCounts
from mtl_ray.errors import DataError
from mtl_ray.schema import MISSING_ID, UNKNOWN_ID, Settings


def _check_values(values: Any) -> tuple[int, ...] | tuple[str, ...]:
    """Pydantic would look at each of a million values on its own."""
    values = tuple(values)
    kinds = set(map(type, values))
    if kinds not in (set(), {int}, {str}):
        raise ValueError("a vocabulary holds only integers or only strings")
    return values


def _check_times(values: Any) -> tuple[int, ...] | None:
    return None if values is None else tuple(values)


def _as_list(values: tuple[int, ...] | None) -> list[int] | None:
    return None if values is None else list(values)


class Vocabulary(Settings):
    """The known values of one vocabulary; value number i has id i + `first_known`."""

    values: Annotated[
        tuple[int, ...] | tuple[str, ...],
        PlainValidator(_check_values),
        PlainSerializer(list, return_type=list[Any]),
    ]
    """All integers (truth values are 0 and 1) or all strings."""
    unknown_ids: Annotated[int, Field(ge=1)] = 1
    """Ids that the unknown values share, each by its hash."""
    last_seen: Annotated[tuple[int, ...] | None, PlainValidator(_check_times), PlainSerializer(_as_list)] = None
    """Of each value, when a training row showed it last, in microseconds since 1970; None: nobody asked."""

    @property
    def first_known(self) -> int:
        """Id of the first value."""
        return UNKNOWN_ID + self.unknown_ids

    @property
    def size(self) -> int:
        """Number of ids, missing and unknown included."""
        return len(self.values) + self.first_known

    @cached_property
    def _sorted_integers(self) -> tuple[np.ndarray, np.ndarray]:
        """Values in rising order and their ids, for a binary search that needs no table built anew at each call."""
        values = np.array(self.values, dtype=np.int64)
        order = np.argsort(values, kind="stable")
        return values[order], (order + self.first_known).astype(np.int32)

    @cached_property
    def _arrow(self) -> pa.Array:
        return pa.array(self.values, pa.large_string() if self.holds_text else pa.int64())

    @property
    def holds_text(self) -> bool:
        return bool(self.values) and isinstance(self.values[0], str)

    def ids(self, values: pa.Array, column: str) -> np.ndarray:
        """Ids int32 `[n]` of `values` as `category_values` returns them.

        Raises `DataError` where text is asked of a vocabulary of integers or the other way round.
        """
        if not self.values or pa.types.is_null(values.type):
            ids = np.where(pc.is_valid(values).to_numpy(zero_copy_only=False), UNKNOWN_ID, MISSING_ID).astype(np.int32)
            return self._spread(ids, values)
        text = pa.types.is_large_string(values.type)
        if text != self.holds_text:
            raise DataError(
                f"The categorical column {column!r} has another type than in the training part.",
                where=f"column {column}",
                found="text" if text else "integers",
                allowed="text" if self.holds_text else "integers",
                fix="cast the column",
            )
        if text or len(values) > len(self.values):
            index = pc.index_in(values, value_set=self._arrow)  # hashes all known values, at each call
            ids = pc.fill_null(index, UNKNOWN_ID - self.first_known).to_numpy() + np.int32(self.first_known)
        else:
            known, known_ids = self._sorted_integers
            wanted = pc.fill_null(values, 0).to_numpy()
            position = np.minimum(np.searchsorted(known, wanted), known.size - 1)
            ids = np.where(known[position] == wanted, known_ids[position], np.int32(UNKNOWN_ID))
        if values.null_count:
            ids[pc.is_null(values).to_numpy(zero_copy_only=False)] = MISSING_ID
        return self._spread(ids.astype(np.int32, copy=False), values)

    def ids_by(self, other: Vocabulary, column: str) -> np.ndarray:
        """Ids int32 `[size]` that `other` has for what each id stands for here: missing, unknown, or a value.

        Raises `DataError` as `ids` does.
        """
        of_unknown = UNKNOWN_ID + np.minimum(np.arange(self.unknown_ids), other.unknown_ids - 1)
        values = other.ids(self._arrow, column) if self.values else np.empty(0, dtype=np.int32)
        return np.concatenate([[MISSING_ID], of_unknown, values]).astype(np.int32)

    def unknown(self, ids: np.ndarray) -> np.ndarray:
        """Which of `ids` are of values that have none of their own."""
        found: np.ndarray = (ids >= UNKNOWN_ID) & (ids < self.first_known)
        return found

    def _spread(self, ids: np.ndarray, values: pa.Array) -> np.ndarray:
        """`ids`, where those of unknown values are UNKNOWN_ID so far."""
        if self.unknown_ids > 1 and len(places := np.flatnonzero(ids == UNKNOWN_ID)):
            unknown = values.take(pa.array(places)).to_numpy(zero_copy_only=False)
            # pandas' hash is the same in every process and on every machine; Python's is not.
            hashed = pd.util.hash_array(unknown, categorize=False) % np.uint64(self.unknown_ids)
            ids[places] = UNKNOWN_ID + hashed.astype(np.int32)
        return ids


def category_values(values: pa.Array | pa.ChunkedArray, column: str) -> pa.Array:
    """`values` as one int64, large_string or null Arrow array, null where missing.

    Truth values become 0 and 1. Floats must be whole numbers (a table that went through pandas has its integers as
    floats with NaN for missing); otherwise `DataError`.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        return category_values(values.cast(kind.value_type), column)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        # 64-bit offsets: a column of all training rows may hold more than 2 GB of text.
        values = values.cast(pa.large_string())
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_null(kind) or pa.types.is_large_string(values.type) or kind == pa.int64():
        return values
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return values.cast(pa.int64())
    if pa.types.is_floating(kind):
        numbers = pc.if_else(pc.is_finite(values), values, pa.scalar(None, kind))
        try:
            return numbers.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise DataError(
                f"The categorical column {column!r} holds fractions.",
                where=f"column {column}",
                found=str(error),
                allowed="integers, text or truth values",
                fix="use encoding numeric, or cast the column to integers or text",
            ) from error
    raise DataError(
        f"The column {column!r} cannot be categorical.",
        where=f"column {column}",
        found=f"type {kind}",
        allowed="integers, text or truth values",
    )


def fit_vocabulary(
    columns: Sequence[tuple[str, CategoryCounts]],
    name: str,
    *,
    min_count: int,
    max_size: int,
    unknown_ids: int = 1,
    since: int | None = None,
) -> Vocabulary:
    """The vocabulary of all values in `columns`, (column name, counts in the training part).

    Counts run over all columns together. Known become at most `max_size` values that occur at least `min_count`
    times, the most frequent ones; with `since`, in microseconds, those alone that were seen then or later, and when is
    kept. Raises `DataError` where one column holds text and another integers.
    """
    table = vocabulary_counts(columns, name).table
    frequent = by_falling_count(admitted(table, min_count, since))[:max_size]
    seen = None if since is None else last_times(frequent)
    return Vocabulary(values=tuple(frequent["value"].to_pylist()), unknown_ids=unknown_ids, last_seen=seen)


def admitted(table: pa.Table, min_count: int, since: int | None) -> pa.Table:
    """The values of `table` (value, count, perhaps last) that occur often enough, and late enough."""
    frequent = table.filter(pc.greater_equal(table["count"], min_count))
    if since is None or "last" not in table.column_names:
        return frequent
    return frequent.filter(pc.greater_equal(frequent["last"], since))


def last_times(table: pa.Table) -> tuple[int, ...]:
    """The column last; empty where no value has a time, for there is none then."""
    return tuple(table["last"].to_pylist()) if "last" in table.column_names else ()


def vocabulary_counts(columns: Sequence[tuple[str, CategoryCounts]], name: str) -> CategoryCounts:
    """The counts over `columns`, (column name, counts), together.

    Raises `DataError` where one column holds text and another integers.
    """
    typed = [(column, counts.kind) for column, counts in columns if not pa.types.is_null(counts.kind)]
    if len({kind for _, kind in typed}) > 1:
        raise DataError(
            f"The features of the vocabulary {name!r} have different types.",
            where=f"vocabulary {name}",
            found=", ".join(f"{column}: {kind}" for column, kind in typed),
            allowed="all integers or all text",
            fix="cast one of them, or give it a vocabulary of its own (tag `vocabulary` of the field)",
        )
    return CategoryCounts.merged(counts for _, counts in columns)


def by_falling_count(table: pa.Table) -> pa.Table:
    """`table` (value, count, ...) in the order of ids: by falling count, equal counts by rising value."""
    return table.take(pc.sort_indices(table, sort_keys=[("count", "descending"), ("value", "ascending")]))
