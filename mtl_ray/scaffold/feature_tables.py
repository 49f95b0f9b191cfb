"""A feature table beside the spine: joined by the entities that it shares, as of its own times where it has some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.errors import DataError
from mtl_ray.scaffold.candidates import candidates
from mtl_ray.scaffold.columns import Column
from mtl_ray.scaffold.labels import Label
from mtl_ray.scaffold.names import safe_name, unique_name
from mtl_ray.scaffold.project import Entity, View
from mtl_ray.scaffold.tables import NO_TIME, Source, times_of
from mtl_ray.scaffold.values import Values


def feature_table_view(
    source: Source,
    entities: Sequence[Entity],
    spine_keys: dict[str, Values],
    spine_times: pa.Array,
    timestamp: str | None,
    keep: frozenset[str],
    labels: Sequence[Label],
    taken: set[str],
) -> tuple[View, list[Column], list[str]]:
    """The view over `source`, the columns for which Feast has no type, and notes.

    A table without the column `timestamp` holds what is known at all times. Raises `DataError` where it shares no
    entity with the spine, has a key of another type, or two rows for one key (and time).
    """
    shared = [entity for entity in entities if entity.original in source.values]
    if not shared:
        raise DataError(
            f"The table {source.stem!r} shares no entity with the spine.",
            where=f"--table {source.stem}",
            found=f"columns {', '.join(source.values)}",
            allowed=f"at least one of {', '.join(entity.original for entity in entities) or '(no --entity is given)'}",
            fix="name the columns that join it with --entity",
        )
    notes = []
    source, without_key = _with_keys(source, shared, spine_keys)
    if without_key:
        notes.append(f"{source.stem}: {without_key} rows without a key are left out")
    timed = timestamp is not None and timestamp in source.values
    if timed and timestamp is not None:
        times = times_of(source, timestamp)
    else:
        # Before every spine row, or nothing would be known at the first ones.
        start = min(NO_TIME, pc.min(spine_times.cast(pa.int64())).as_py())
        times = pa.repeat(pa.scalar(start, pa.int64()), source.rows).cast(spine_times.type)
        notes.append(f"{source.stem}: no time column, so its values count as known at all times")
    keys = {entity.key: source.values[entity.original].array for entity in shared}
    _refuse_repeated(source, keys, times, timed)
    rows = _rows_as_of(spine_keys, spine_times, keys, times)
    names = _names(source, {*(entity.original for entity in shared), timestamp if timed else None}, taken)
    notes += [f"{source.stem}: {old!r} is called {new}" for old, new in names.items() if old != new]
    columns, read = candidates(
        names,
        source.values,
        times if timed else None,
        keep,
        labels,
        taken,
        lambda column: column.take(rows),
        f"{source.stem}: ",
    )
    fields = tuple(column for column in columns if column.dtype is not None)
    table = pa.table({**keys, "event_timestamp": times, **{column.name: column.values.array for column in fields}})
    name = unique_name(f"{safe_name(source.stem).removesuffix('_features')}_features", taken)
    described = " and ".join(entity.original for entity in shared)
    view = View(name, tuple(shared), fields, table, f"Table {source.stem}, by {described}.")
    return view, [column for column in columns if column.dtype is None], [*notes, *read]


def _with_keys(source: Source, shared: Sequence[Entity], spine_keys: dict[str, Values]) -> tuple[Source, int]:
    """`source` without rows that have no key, and how many those were."""
    for entity in shared:
        values, wanted = source.values[entity.original], spine_keys[entity.key]
        if values.kind != wanted.kind:
            raise DataError(
                f"The entity {entity.original!r} has another type than in the spine.",
                where=f"table {source.stem}",
                found=f"{values.kind}, but {wanted.kind} in the spine",
                fix="write the ids of both tables as whole numbers, or of both as text",
            )
    valid = pc.is_valid(source.values[shared[0].original].array)
    for entity in shared[1:]:
        valid = pc.and_(valid, pc.is_valid(source.values[entity.original].array))
    lost = source.rows - pc.sum(valid).as_py()
    if not lost:
        return source, 0
    kept = {name: Values(one.kind, one.array.filter(valid), one.note) for name, one in source.values.items()}
    return Source(source.stem, kept, source.rows - lost), lost


def _refuse_repeated(source: Source, keys: dict[str, pa.Array], times: pa.Array, timed: bool) -> None:
    by = [*keys, "time"]
    counts = pa.table({**keys, "time": times}).append_column("one", pa.repeat(1, source.rows)).group_by(by)
    repeated = counts.aggregate([("one", "sum")]).filter(pc.field("one_sum") > 1)
    if repeated.num_rows:
        first = ", ".join(f"{key} {repeated[key][0].as_py()!r}" for key in keys)
        raise DataError(
            f"The table {source.stem!r} has several rows for one key{' and time' if timed else ''}.",
            where=f"--table {source.stem}",
            found=f"{repeated.num_rows} keys, such as {first}",
            allowed="one row a key and time",
            fix="keep one of them" if timed else "keep one of them, or give the table the time column of --timestamp",
        )


def _rows_as_of(
    spine_keys: dict[str, Values], spine_times: pa.Array, keys: dict[str, pa.Array], times: pa.Array
) -> pa.Array:
    """For each spine row the row of the feature table that was known then, int64; null where none was."""
    spine = pa.table(
        {**{key: spine_keys[key].array for key in keys}, "t": spine_times, "n": pa.array(range(len(spine_times)))}
    )
    features = pa.table({**keys, "t": times, "f": pa.array(range(len(times)))})
    on = " AND ".join(f'spine."{key}" = features."{key}"' for key in keys)
    with duckdb.connect() as connection:
        connection.register("spine", spine)
        connection.register("features", features)
        joined: Any = connection.sql(
            f"SELECT f FROM spine ASOF LEFT JOIN features ON {on} AND spine.t >= features.t ORDER BY n"
        ).to_arrow_table()
    return joined["f"].combine_chunks().cast(pa.int64())


def _names(source: Source, roles: set[str | None], taken: set[str]) -> dict[str, str]:
    """Safe names of the feature columns; one that the spine or another table has is preceded by the table's."""
    names = {}
    for position, original in enumerate(source.values, start=1):
        if original in roles:
            continue
        name = safe_name(original, f"column_{position}")
        if name in taken:
            name = f"{safe_name(source.stem)}_{name}"
        names[original] = unique_name(name, taken)
    return names
