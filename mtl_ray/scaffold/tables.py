"""The user's tables with safe names, and the columns that the command line names in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.errors import ConfigError, DataError
from mtl_ray.scaffold.dates import event_times
from mtl_ray.scaffold.labels import LabelType, column_named, parse_label
from mtl_ray.scaffold.values import Values, read_values

NO_TIME = 946_684_800_000_000
"""2000-01-01 UTC in microseconds: the time of rows that have none."""


@dataclass(frozen=True, eq=False)
class Choices:
    """What the command line says, in the spelling of the table."""

    labels: dict[str, LabelType | None]
    entities: tuple[str, ...]
    timestamp: str | None
    keep: frozenset[str]


@dataclass(frozen=True, eq=False)
class Source:
    """One of the user's tables."""

    stem: str
    values: dict[str, Values]
    """By the name in the file."""
    rows: int = field(default=0)


def read_source(stem: str, table: pa.Table) -> Source:
    """`table` with the kind of each column."""
    return Source(
        stem, {name: read_values(table[name].combine_chunks()) for name in table.column_names}, table.num_rows
    )


def read_choices(
    sources: Sequence[Source],
    labels: Sequence[str],
    entities: Sequence[str],
    timestamp: str | None,
    keep: Sequence[str],
) -> Choices:
    """The named columns, checked against the tables. Raises `ConfigError` for one that is absent or named twice."""
    columns = list(sources[0].values)
    if not labels:
        raise ConfigError(
            "No label is named.",
            where="--label",
            allowed=f"one or more of {', '.join(columns)}",
            fix="--label NAME:TYPE",
        )
    parsed = [parse_label(text, columns) for text in labels]
    roles = [(name, "--label") for name, _ in parsed]
    roles += [(column_named(name, columns, "--entity"), "--entity") for name in entities]
    if timestamp is not None:
        roles.append((column_named(timestamp, columns, "--timestamp"), "--timestamp"))
    for position, (name, option) in enumerate(roles):
        for other, before in roles[:position]:
            if name == other:
                raise ConfigError(
                    f"The column {name!r} is named twice.", where=f"{before} and {option}", fix="give it one role"
                )
    known = list(dict.fromkeys(name for source in sources for name in source.values))
    return Choices(
        dict(parsed), tuple(entities), timestamp, frozenset(column_named(name, known, "--keep") for name in keep)
    )


def times_of(source: Source, column: str) -> pa.Array:
    """timestamp[us, UTC] `[rows]`. Raises `DataError` for a column that holds no times, or not in every row."""
    values = source.values[column]
    times = event_times(values)
    if times is None:
        head = ", ".join(repr(value) for value in values.array.drop_null()[:3].to_pylist())
        raise DataError(
            f"The column {column!r} holds no times.",
            where=f"--timestamp, table {source.stem}",
            found=head or "no value",
            allowed="ISO 8601 such as 2026-01-31T12:00:00Z, common date forms, or seconds (ms, us, ns) since 1970",
        )
    if times.null_count:
        first = pc.index(pc.is_null(times), True).as_py()
        raise DataError(
            f"The timestamp {column!r} is missing in {times.null_count} of {source.rows} rows.",
            where=f"table {source.stem}, row {first + 1}",
            fix="leave these rows out, fill in the time, or leave --timestamp out for a random split",
        )
    return times


def key_of(source: Source, column: str) -> Values:
    """An entity's ids, int64 or string. Raises `DataError` for another type and for a missing id."""
    values = source.values[column]
    if values.kind not in ("integer", "text"):
        raise DataError(
            f"The entity {column!r} is neither an integer nor text.",
            where=f"--entity, table {source.stem}",
            found=f"Arrow type {values.array.type}",
            allowed="whole numbers or text",
        )
    if values.array.null_count:
        first = pc.index(pc.is_null(values.array), True).as_py()
        raise DataError(
            f"The entity {column!r} is missing in {values.array.null_count} of {source.rows} rows.",
            where=f"table {source.stem}, row {first + 1}",
            fix="leave these rows out, or give them an id of their own",
        )
    return values


def constant_times(rows: int) -> pa.Array:
    """NO_TIME for every row, timestamp[us, UTC]."""
    return pa.repeat(pa.scalar(NO_TIME, pa.int64()), rows).cast(pa.timestamp("us", "UTC"))
