"""A feature view as the join sees it: where its rows lie, by which columns it is joined and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.join.asof import CREATED, TIME
from mtl_ray.data.join.parquet_rows import ParquetRows
from mtl_ray.errors import DataError, FeatureStoreError, nearest


@dataclass(frozen=True)
class JoinView:
    """One feature view. All source names are names of columns in the Parquet files."""

    name: str
    path: str | tuple[str, ...]
    """File, folder or glob pattern, absolute; or a URI; or several of them."""
    keys: tuple[tuple[str, str], ...]
    """(column of the source, column of the spine); none: the view describes the whole shop at a time."""
    timestamp_field: str
    created: str | None
    ttl: int | None
    """Microseconds; None: values hold for ever."""
    columns: tuple[tuple[str, str], ...]
    """(column of the source, name in the result)."""
    known_only: bool = False
    """Whether rows whose created timestamp lies after the spine row's time are hidden from it."""
    feature_timestamp: str | None = None
    """Name in the result of the matched row's event timestamp; None: it is not returned."""
    latest: bool = False
    """A plain join on the keys instead, as the leak meter measures it: every spine row gets the newest row of its keys,
    whatever its own time, the ttl and the created timestamps. It leaks."""

    @cached_property
    def rows(self) -> ParquetRows:
        """The source's rows. Raises `FeatureStoreError` where it is absent, unreadable or lacks a column."""
        try:
            rows = ParquetRows.of(self.path)
        except (OSError, pa.ArrowInvalid) as error:
            absent = isinstance(error, FileNotFoundError)
            raise FeatureStoreError(
                f"The source of feature view {self.name!r} cannot be read.",
                where=self.where,
                found="no such Parquet file" if absent else f"{type(error).__name__}: {str(error).splitlines()[0]}",
                fix="write the source's Parquet file, or correct its path in the repo and run `feast apply`",
            ) from error
        for column in self.source_columns:
            if column not in rows.schema.names:
                guess = nearest(column, rows.schema.names)
                raise FeatureStoreError(
                    f"The source of feature view {self.name!r} has no column {column!r}.",
                    where=self.where,
                    found=f"columns {', '.join(rows.schema.names)}",
                    fix=f"did you mean {guess!r}?" if guess else "write the column, or correct the view",
                )
        for column in (self.timestamp_field, *([self.created] if self.created else [])):
            kind = rows.schema.field(column).type
            if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
                raise FeatureStoreError(
                    f"The column {column!r} of feature view {self.name!r} holds no times.",
                    where=self.where,
                    found=f"type {kind}",
                    allowed="a timestamp (without a time zone it is UTC) or a date",
                    fix="write it as timestamp[us, tz=UTC]",
                )
        return rows

    @property
    def where(self) -> str:
        """The path, for people."""
        return self.path if isinstance(self.path, str) else f"{self.path[0]} and {len(self.path) - 1} more"

    @property
    def source_columns(self) -> tuple[str, ...]:
        """Columns that are read, each once."""
        keys = [column for column, _ in self.keys]
        created = [self.created] if self.created else []
        return tuple(dict.fromkeys([*keys, self.timestamp_field, *created, *(name for name, _ in self.columns)]))

    @property
    def spine_keys(self) -> tuple[str, ...]:
        """The spine's columns that the view is joined by."""
        return tuple(column for _, column in self.keys)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Columns of the result, in order."""
        times = [self.feature_timestamp] if self.feature_timestamp else []
        return (*(name for _, name in self.columns), *times)

    def key_frame(self, table: pa.Table) -> pl.DataFrame:
        """Keys (named as in the spine), TIME and CREATED of the source's rows `table`."""
        columns: dict[str, Any] = {
            spine: key_values(table[source], f"key {source!r} of feature view {self.name!r}")
            for source, spine in self.keys
        }
        columns[TIME] = microseconds(table[self.timestamp_field])
        if self.created:
            columns[CREATED] = microseconds(table[self.created])
        return frame(pa.table(columns))

    def check_keys(self, spine: pa.Schema) -> None:
        """Raise where a join key is absent from the spine or of another kind there."""
        for source, column in self.keys:
            if column not in spine.names:
                guess = nearest(column, spine.names)
                raise DataError(
                    f"The spine has no join key {column!r}, which feature view {self.name!r} is joined by.",
                    where="spine",
                    found=f"columns {', '.join(spine.names)}",
                    fix=f"did you mean {guess!r}?" if guess else "add the column to the spine",
                )
            if spine.names.count(column) > 1:
                raise DataError(
                    f"The spine has {spine.names.count(column)} columns named {column!r}.",
                    where="spine",
                    found=f"columns {', '.join(spine.names)}",
                    fix="rename or drop all but one: the join key must be one column",
                )
            ours = key_kind(self.rows.schema.field(source).type)
            theirs = key_kind(spine.field(column).type)
            if ours is None or theirs is None or ("null" not in (ours, theirs) and ours != theirs):
                raise DataError(
                    f"The join key {column!r} has another type in the spine than in feature view {self.name!r}.",
                    where=f"spine column {column}, column {source} of {self.where}",
                    found=f"{spine.field(column).type} in the spine, {self.rows.schema.field(source).type} in the view",
                    allowed="integers on both sides, or text on both sides",
                    fix="cast the column on one side",
                )


def key_kind(kind: pa.DataType) -> str | None:
    """`integer`, `text` or `null`: what a key column of this type is compared as; None where it cannot be a key.

    Floats stand for integers: a frame that went through pandas has its integers with gaps as floats.
    """
    if pa.types.is_dictionary(kind):
        return key_kind(kind.value_type)
    if pa.types.is_null(kind):
        return "null"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return "integer"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    return None


def key_values(values: pa.ChunkedArray, what: str) -> pa.ChunkedArray:
    """A key column as int64 or large_string, null where missing.

    Raises `DataError` for another type, an integer beyond int64 or a float that is no whole number.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        return key_values(values.cast(kind.value_type), what)
    found = key_kind(kind)
    if found == "text":
        return values.cast(pa.large_string())
    if found == "null":
        return values.cast(pa.int64())
    if found == "integer":
        if pa.types.is_floating(kind):
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, kind), values)
        try:
            return values.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise DataError(
                f"The {what} holds a value that is no 64-bit integer.",
                where=what,
                found=f"type {kind}: {error}",
                allowed=f"whole numbers of at most {2**63 - 1}",
                fix="reinterpret the ids as int64, or write them as text, in spine and feature tables alike",
            ) from error
    raise DataError(
        f"The {what} is neither an integer nor text.",
        where=what,
        found=f"type {kind}",
        allowed="an integer type or string",
        fix="cast the column",
    )


def microseconds(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times as int64 microseconds since 1970 UTC; a time without a zone is UTC, a date its midnight.

    Nanoseconds are cut to microseconds towards the past, on both sides of the join alike.
    """
    kind = values.type
    if pa.types.is_date(kind):
        return values.cast(pa.timestamp("us")).cast(pa.int64())
    if kind.unit == "ns":
        # Arrow's cast would cut towards 1970.
        values = pc.floor_temporal(values.cast(pa.timestamp("ns")), unit="microsecond")
    return values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())


def frame(table: pa.Table) -> pl.DataFrame:
    """`table` in Polars, sharing its memory where the types allow."""
    converted = pl.from_arrow(table)
    assert isinstance(converted, pl.DataFrame)
    return converted
