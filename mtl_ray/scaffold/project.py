"""What a scaffold writes, before it is written: spine, feature views, inputs, labels and all that was decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mtl_ray.scaffold.columns import Column
from mtl_ray.scaffold.labels import Label

EXAMPLE_KEY = "example_id"
"""Join key of a table without entities: the number of the row."""


@dataclass(frozen=True, eq=False)
class Entity:
    """One Feast entity."""

    name: str
    key: str
    """Its join key, a column of the spine."""
    original: str
    dtype: str
    """`Int64` or `String`."""
    description: str


@dataclass(frozen=True, eq=False)
class View:
    """One Feast feature view and its Parquet source."""

    name: str
    entities: tuple[Entity, ...]
    columns: tuple[Column, ...]
    """Fields; the service takes those that are used."""
    table: pa.Table
    """Join keys, event_timestamp and the fields."""
    description: str


@dataclass(frozen=True, eq=False)
class Project:
    """A project that can be written."""

    name: str
    rows: int
    entities: tuple[Entity, ...]
    views: tuple[View, ...]
    context: tuple[Column, ...]
    """Columns of the row itself; used ones are `features.context`."""
    keys: tuple[str, ...]
    """`features.keys`."""
    labels: tuple[Label, ...]
    spine: pa.Table
    timed: bool
    """Whether the rows have times of their own."""
    group_by: str | None
    dropped: tuple[Column, ...]
    """Columns that are in no file."""
    notes: tuple[str, ...]

    @property
    def service(self) -> str:
        return f"{self.name}_v1"

    @property
    def placed(self) -> Iterator[tuple[str, Column]]:
        """Each column with the place where it is: a view's name, `spine`, or nothing."""
        for view in self.views:
            yield from ((view.name, column) for column in view.columns)
        yield from (("spine", column) for column in self.context)
        yield from (("", column) for column in self.dropped)

    @property
    def inputs(self) -> tuple[Column, ...]:
        """Columns that the model reads, join keys aside."""
        return tuple(column for _, column in self.placed if column.used)

    @property
    def warnings(self) -> tuple[dict[str, Any], ...]:
        """What was pointed out, a column each, leaks first."""
        order = ("leak", "identifier", "free text", "constant", "missing", "unsupported")
        found = [(place, column) for place, column in self.placed if column.warning is not None]
        found.sort(key=lambda item: order.index(str(item[1].warning)))
        return tuple(
            {
                "column": column.original,
                "name": column.name,
                "warning": column.warning,
                "reason": column.reason,
                "used": column.used,
            }
            for _, column in found
        )
