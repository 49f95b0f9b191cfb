"""What a join does, a piece at a time: each piece is a plain function of the join and a number.

    partition_view(join, (shuffle, view, chunk))   a chunk of a large view, cut by hash of its key
    partition_spine(join, (shuffle, bucket))       a bucket's keys and times, cut the same way
    join_partition(join, (shuffle, partition))     as-of join inside a partition; features labelled by bucket
    join_bucket(join, bucket)                      the result: spine rows, features of broadcast and of shuffled views

Pieces of one stage do not depend on each other, may run in any process that sees the work folder, and leave one
fragment each, which is not made again where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from mtl_ray.data.join.asof import TIME, Positions, SortedView, by_time
from mtl_ray.data.join.fragments import fragment_stands, new_fragment, read_labelled
from mtl_ray.data.join.gather import Gatherer
from mtl_ray.data.join.parquet_rows import Rows, chunk_ranges
from mtl_ray.data.join.plan import JoinPlan, Shuffle
from mtl_ray.data.join.views import JoinView, frame, key_values, microseconds

_POSITION = "__position"
"""Position of a spine row over the whole spine, int64."""

_AFTER_ALL = 1 << 62
"""A time that no feature row is later than, in microseconds."""


@dataclass(frozen=True)
class Join:
    """Everything that a piece of work needs to know; picklable."""

    spine: Rows
    spine_columns: tuple[str, ...]
    """Columns of the spine that the result carries."""
    time_column: str
    views: tuple[JoinView, ...]
    plan: JoinPlan
    folder: Path | None
    """Work folder that all processes see; None where the plan needs none."""
    identity: str = field(default="")
    """What the pieces in the folder belong to; part of the key of this process's cache."""

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Spine columns that some view is joined by."""
        return tuple(dict.fromkeys(key for view in self.views for key in view.spine_keys))

    def view_chunks(self, view: int) -> list[tuple[int, int]]:
        """[begin, end) of the view's rows that are partitioned together."""
        return chunk_ranges(self.views[view].rows.num_rows, self.plan.view_chunk_rows[view])

    def fragment(self, shuffle: int, kind: str, number: int) -> Path:
        """File of one piece's fragment."""
        assert self.folder is not None
        return self.folder / f"shuffle-{shuffle}" / kind / f"{number:05d}.arrow"

    def view_fragments(self, shuffle: int, view: int) -> list[Path]:
        """Fragments of a view, in row order."""
        return [self.fragment(shuffle, f"view-{view}", chunk) for chunk in range(len(self.view_chunks(view)))]


def partition_view(join: Join, piece: tuple[int, int, int]) -> int:
    """Cut chunk `piece[2]` of view `piece[1]`; returns its rows."""
    number, index, chunk = piece
    view, shuffle = join.views[index], join.plan.shuffles[number]
    begin, end = join.view_chunks(index)[chunk]
    file = join.fragment(number, f"view-{index}", chunk)
    if not fragment_stands(file):
        table = view.rows.read(begin, end, view.source_columns)
        source = next(source for source, spine in view.keys if spine == shuffle.key)
        key = key_values(table[source], f"key {source!r} of feature view {view.name!r}")
        _write_partitioned(file, table, key, shuffle, keyless=False)
    return end - begin


def partition_spine(join: Join, piece: tuple[int, int]) -> int:
    """Cut the keys and times of bucket `piece[1]`; returns its rows."""
    number, bucket = piece
    shuffle = join.plan.shuffles[number]
    begin, end = join.plan.bucket(bucket)
    file = join.fragment(number, "spine", bucket)
    if not fragment_stands(file):
        names = tuple(dict.fromkeys(key for index in shuffle.views for key in join.views[index].spine_keys))
        keys = _spine_keys(join.spine.read(begin, end, (*names, join.time_column)), names, join.time_column)
        table = keys.append_column(_POSITION, pa.array(np.arange(begin, end, dtype=np.int64)))
        _write_partitioned(file, table, keys[shuffle.key], shuffle, keyless=True)
    return end - begin


def join_partition(join: Join, piece: tuple[int, int]) -> int:
    """Join partition `piece[1]`; returns its spine rows. Holds the partition's views and one chunk of its spine."""
    number, partition = piece
    shuffle = join.plan.shuffles[number]
    spine_files = [join.fragment(number, "spine", bucket) for bucket in range(join.plan.buckets)]
    file = join.fragment(number, "joined", partition)
    rows = 0
    if fragment_stands(file):
        return sum(part.num_rows for _, part in _labelled(spine_files, partition))
    views = {}
    for index in shuffle.views:
        table = read_labelled(join.view_fragments(number, index), partition)
        view = join.views[index]
        if table is None:
            table = pa.schema([view.rows.schema.field(name) for name in view.source_columns]).empty_table()
        views[index] = LoadedView(view, table)
        del table
    schema = pa.schema([pa.field(_POSITION, pa.int64()), *_fields(join, shuffle.views)])
    with new_fragment(file, schema) as writer:
        for bucket, part in _labelled(spine_files, partition):
            rows += part.num_rows
            keys = by_time(frame(part))
            joined = pa.table({_POSITION: part[_POSITION]})
            for part_of_view in views.values():
                joined = _with_columns(joined, part_of_view.features(keys))
            writer.write(joined, bucket)
    return rows


def join_bucket(join: Join, bucket: int) -> pa.Table:
    """The bucket's spine rows in order, with all features."""
    begin, end = join.plan.bucket(bucket)
    names = tuple(dict.fromkeys([*join.spine_columns, *join.key_columns, join.time_column]))
    spine = join.spine.read(begin, end, names)
    keys = by_time(frame(_spine_keys(spine, join.key_columns, join.time_column)))
    found: dict[str, pa.ChunkedArray] = {}
    for index in join.plan.broadcast:
        features = loaded(join, index).features(keys)
        found |= dict(zip(features.column_names, features.columns, strict=True))
    for number, shuffle in enumerate(join.plan.shuffles):
        features = _from_partitions(join, number, shuffle, begin, end, bucket)
        found |= dict(zip(features.column_names, features.columns, strict=True))
    result = spine.select(list(join.spine_columns))
    for view in join.views:
        for name in view.outputs:
            result = result.append_column(name, found[name])
    return result


class LoadedView:
    """A view, or a partition of one, in memory and sorted."""

    def __init__(self, view: JoinView, table: pa.Table) -> None:
        self._view = view
        keys = view.key_frame(table)
        ttl, known_only = (None, False) if view.latest else (view.ttl, view.known_only)
        self._sorted = SortedView(keys, view.spine_keys, ttl=ttl, known_only=known_only)
        self._values = Gatherer(table, view.columns)

    def features(self, keys: pl.DataFrame) -> pa.Table:
        """The view's result columns for spine rows given by their keys (see `by_time`), in the order of the rows."""
        if self._view.latest:
            keys = keys.with_columns(pl.when(pl.col(TIME).is_not_null()).then(_AFTER_ALL).alias(TIME))
        name = self._view.feature_timestamp
        positions, times = self._sorted.match(keys, times=name is not None)
        table = self._values.take(positions)
        if name is not None:
            found = pa.array(times, mask=positions < 0).cast(pa.timestamp("us", "UTC"))
            table = table.append_column(name, found)
        return table


def loaded(join: Join, index: int) -> LoadedView:
    """View `index`, whole; kept in this process where more than one bucket needs it."""
    view = join.views[index]
    if join.plan.buckets == 1:
        return LoadedView(view, view.rows.read_all(view.source_columns))
    kept = _kept(join.identity)
    if view not in kept:
        kept[view] = LoadedView(view, view.rows.read_all(view.source_columns))
    return kept[view]


@lru_cache(maxsize=1)  # a worker of Ray lives longer than a join: the next one drives out the views of the last
def _kept(identity: str) -> dict[JoinView, LoadedView]:  # noqa: ARG001 - another join may read a rewritten file
    return {}


def forget_views() -> None:
    """Let go of the views that this process keeps."""
    _kept.cache_clear()


def _fields(join: Join, views: Sequence[int] | range) -> list[pa.Field]:
    fields: list[pa.Field] = []
    for index in views:
        view = join.views[index]
        source = view.rows.schema
        fields.extend(pa.field(name, source.field(column).type) for column, name in view.columns)
        if view.feature_timestamp:
            fields.append(pa.field(view.feature_timestamp, pa.timestamp("us", "UTC")))
    return fields


def _spine_keys(table: pa.Table, names: Sequence[str], time_column: str) -> pa.Table:
    columns = {name: key_values(table[name], f"join key {name!r} of the spine") for name in names}
    columns[TIME] = microseconds(table[time_column])
    return pa.table(columns)


def _from_partitions(join: Join, number: int, shuffle: Shuffle, begin: int, end: int, bucket: int) -> pa.Table:
    files = [join.fragment(number, "joined", partition) for partition in range(shuffle.partitions)]
    table = read_labelled(files, bucket)
    if table is None:
        return pa.schema(_fields(join, shuffle.views)).empty_table()
    order = pc.sort_indices(table[_POSITION])
    positions = table[_POSITION].take(order).to_numpy()
    if not np.array_equal(positions, np.arange(begin, end)):
        raise AssertionError(f"the partitions returned other rows than bucket {bucket} has")
    features = table.drop_columns([_POSITION])
    return Gatherer(features, [(name, name) for name in features.column_names]).take(order.to_numpy().astype(np.int64))


def _labelled(files: Sequence[Path], label: int) -> Iterator[tuple[int, pa.Table]]:
    """(number of the file, its rows of `label`), one file at a time."""
    for number, file in enumerate(files):
        table = read_labelled([file], label)
        if table is not None:
            yield number, table


def _write_partitioned(file: Path, table: pa.Table, key: pa.ChunkedArray, shuffle: Shuffle, *, keyless: bool) -> None:
    """`keyless`: whether rows without a key are written; those of a view match nothing, and would be one partition."""
    partition = _partition_of(key, shuffle.partitions)
    if not keyless and key.null_count:
        partition[key.is_null().to_numpy()] = -1
    order = np.argsort(partition, kind="stable")
    bounds = np.searchsorted(partition[order], np.arange(shuffle.partitions + 1))
    gatherer = Gatherer(table, [(name, name) for name in table.column_names])
    with new_fragment(file, table.schema) as writer:
        for number in range(shuffle.partitions):
            if bounds[number] < bounds[number + 1]:
                writer.write(gatherer.take(order[bounds[number] : bounds[number + 1]]), number)


def _partition_of(key: pa.ChunkedArray, partitions: int) -> Positions:
    """Partition of each row, int64 `[rows]`: the same for equal keys of spine and view; null keys go anywhere."""
    hashed = frame(pa.table({"key": key}))["key"].hash().fill_null(0).to_numpy()
    return (hashed % np.uint64(partitions)).astype(np.int64)


def _with_columns(table: pa.Table, more: pa.Table) -> pa.Table:
    for name in more.column_names:
        table = table.append_column(name, more[name])
    return table
