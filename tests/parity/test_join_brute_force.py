"""The point-in-time join of `mtl_ray.data.join` against one written here row by row, under many plans.

Whatever the cut (everything in memory, buckets of one row, shuffles of any number of partitions, views read a row at a
time), the table must be the same: the spine in its order, and of each view the newest row that was there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtl_ray.data.join.parquet_rows import ParquetRows, TableRows
from mtl_ray.data.join.plan import JoinPlan, Shuffle
from mtl_ray.data.join.results import write_joined
from mtl_ray.data.join.run import joined_buckets, new_join
from mtl_ray.data.join.stages import Join
from mtl_ray.data.join.views import JoinView

START = datetime(2026, 3, 28, 23, tzinfo=UTC)
"""Two hours before the clocks change in Berlin."""
SECOND = 1_000_000
BIG = 2**53
"""Above it a float64 cannot hold every integer."""
PLENTY = 1 << 30

SPINE_KEYS = {"user": "integer", "seller": "integer", "shop": "text"}
KEY_TYPES = {
    "integer": (pa.int64(), pa.int32(), pa.uint16(), pa.float64(), pa.dictionary(pa.int8(), pa.int64())),
    "text": (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())),
}
KEY_VALUES = {
    "integer": st.one_of(st.none(), st.integers(0, 3)),
    "text": st.one_of(st.none(), st.sampled_from(["", "a", "b", "Ä"])),
}
ZONES = (None, "UTC", "Asia/Kolkata", "Europe/Berlin")
TIMES = st.one_of(
    st.none(),
    st.sampled_from([0, 1, SECOND - 1, SECOND, SECOND + 1, 2 * SECOND, 2 * SECOND + 1, 7200 * SECOND]),
    st.integers(-3, 3 * SECOND),
)
"""Microseconds after START: few enough to meet, with pairs exactly a ttl apart and a microsecond more."""

FEATURES: dict[str, tuple[pa.DataType, Any]] = {
    "large": (pa.int64(), st.sampled_from([BIG + 1, -(BIG + 1), 2**62 + 1, 0])),
    "small": (pa.int8(), st.integers(-128, 127)),
    "number": (pa.float64(), st.sampled_from([0.1, -1e300, float("nan"), float("inf")])),
    "half": (pa.float16(), st.sampled_from([np.float16(0.5), np.float16(-2)])),
    "truth": (pa.bool_(), st.booleans()),
    "text": (pa.string(), st.sampled_from(["", "blue", "Grün", "x" * 40])),
    "choice": (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["red", "green"])),
    "amount": (pa.decimal128(20, 4), st.sampled_from([Decimal("1.2345"), Decimal("-9999999999999999.9999")])),
    "day": (pa.date32(), st.sampled_from([date(1969, 12, 31), date(2026, 2, 28)])),
    "seen": (pa.timestamp("ms", "Asia/Tokyo"), st.sampled_from([START, START - timedelta(days=40000)])),
    "viewed": (pa.string_view(), st.sampled_from(["a long text that lies in a buffer of its own", ""])),
    "seen bytes": (pa.binary_view(), st.sampled_from([b"\x01" * 20, b""])),
    "bytes": (pa.binary(), st.sampled_from([b"", b"\x00\xff"])),
    "recent": (pa.list_(pa.int64()), st.lists(st.one_of(st.none(), st.integers(BIG, BIG + 5)), max_size=3)),
    "words": (pa.large_list(pa.string()), st.lists(st.sampled_from(["p", "q"]), max_size=2)),
    "embedding": (pa.list_(pa.float32(), 2), st.sampled_from([[0.5, 1.5], [-1.0, 0.0]])),
    "address": (
        pa.struct([("zip", pa.int32()), ("tags", pa.list_(pa.string()))]),
        st.sampled_from([{"zip": 1, "tags": ["x"]}, {"zip": None, "tags": None}]),
    ),
    "scores": (pa.map_(pa.string(), pa.float32()), st.sampled_from([[("a", 1.0)], []])),
}


@dataclass(frozen=True)
class FeatureRow:
    """A row of a source; times in nanoseconds after START."""

    keys: tuple[Any, ...]
    time: int | None
    created: int | None
    value: Any


@dataclass(frozen=True)
class Source:
    """What a view's files hold, and how the view is joined."""

    kinds: tuple[str, ...]
    """Kind of each key."""
    spine_keys: tuple[str, ...]
    feature: str
    files: tuple[tuple[FeatureRow, ...], ...]
    key_types: tuple[tuple[pa.DataType, ...], ...]
    """For each file."""
    units: tuple[str, ...]
    """Of the times of each file."""
    zone: str | None
    ttl: int | None
    has_created: bool
    known_only: bool
    told: bool
    """Whether the result has the time of the matched row."""

    @property
    def rows(self) -> list[FeatureRow]:
        """All rows in the source's order."""
        return [row for file in self.files for row in file]


@dataclass(frozen=True)
class Case:
    """A spine and its views."""

    keys: tuple[tuple[Any, ...], ...]
    """One tuple a row, a value for each of SPINE_KEYS."""
    times: tuple[int | None, ...]
    key_types: tuple[pa.DataType, ...]
    unit: str
    zone: str | None
    sources: tuple[Source, ...]
    in_files: bool


def cut(time: int | None, unit: str) -> int | None:
    """Nanoseconds as `unit` holds them: rounded towards the past."""
    size = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    return None if time is None else time // size * size


@st.composite
def nanoseconds(draw: st.DrawFn, unit: str) -> int | None:
    time = draw(TIMES)
    within = draw(st.integers(0, 999)) if unit == "ns" else 0
    return cut(None if time is None else time * 1000 + within, unit)


@st.composite
def sources(draw: st.DrawFn) -> Source:
    spine_keys = draw(st.sampled_from([(), ("user",), ("seller",), ("shop",), ("user", "shop"), ("shop", "seller")]))
    kinds = tuple(SPINE_KEYS[key] for key in spine_keys)
    feature = draw(st.sampled_from(sorted(FEATURES)))
    value = st.one_of(st.none(), FEATURES[feature][1])
    files, key_types, units = [], [], []
    for _ in range(draw(st.integers(1, 3))):
        unit = draw(st.sampled_from(["s", "ms", "us", "ns"]))
        row = st.builds(
            FeatureRow, st.tuples(*(KEY_VALUES[kind] for kind in kinds)), nanoseconds(unit), nanoseconds(unit), value
        )
        files.append(tuple(draw(st.lists(row, max_size=6))))
        units.append(unit)
        # Arrow unites integers of several widths, and the two kinds of text, but neither with dictionaries.
        same = draw(st.sampled_from([0, 1]))
        key_types.append(tuple(KEY_TYPES[kind][same] for kind in kinds))
    if draw(st.booleans()):
        alone = tuple(draw(st.sampled_from(KEY_TYPES[kind])) for kind in kinds)
        key_types = [alone] * len(files)
    return Source(
        kinds=kinds,
        spine_keys=spine_keys,
        feature=feature,
        files=tuple(files),
        key_types=tuple(key_types),
        units=tuple(units),
        zone=draw(st.sampled_from(ZONES)),
        ttl=draw(st.sampled_from([None, 1, SECOND, 2 * SECOND])),
        has_created=draw(st.booleans()),
        known_only=draw(st.booleans()),
        told=draw(st.booleans()),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    unit = draw(st.sampled_from(["s", "ms", "us", "ns"]))
    keys = st.tuples(*(KEY_VALUES[kind] for kind in SPINE_KEYS.values()))
    rows = draw(st.lists(st.tuples(keys, nanoseconds(unit)), max_size=10))
    chosen = draw(st.lists(sources(), min_size=1, max_size=3))
    if draw(st.booleans()) and chosen[0].spine_keys == ("user",):
        chosen.append(replace(chosen[0], spine_keys=("seller",)))  # one view under two names
    return Case(
        keys=tuple(keys for keys, _ in rows),
        times=tuple(time for _, time in rows),
        key_types=tuple(draw(st.sampled_from(KEY_TYPES[kind])) for kind in SPINE_KEYS.values()),
        unit=unit,
        zone=draw(st.sampled_from(ZONES)),
        sources=tuple(chosen),
        in_files=draw(st.booleans()),
    )


def best_row(source: Source, wanted: tuple[Any, ...], time: int | None) -> FeatureRow | None:
    """The row that a spine row of keys `wanted` and time `time` must see; everything in whole microseconds."""
    if time is None or any(key is None for key in wanted):
        return None
    best: tuple[tuple[int, float, int], FeatureRow] | None = None
    for position, row in enumerate(source.rows):
        if row.time is None or row.keys != wanted or row.time // 1000 > time:
            continue
        created = row.created // 1000 if source.has_created and row.created is not None else None
        if source.known_only and created is not None and created > time:
            continue
        rank = (row.time // 1000, -float("inf") if created is None else created, position)
        if best is None or rank > best[0]:
            best = rank, row
    if best is None or (source.ttl is not None and time - best[0][0] > source.ttl):
        return None
    return best[1]


def instants(times: Sequence[int | None], unit: str, zone: str | None) -> pa.Array:
    """Nanoseconds after START as Arrow times."""
    since = int(START.timestamp()) * 10**9
    size = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    values = [None if time is None else (since + time) // size for time in times]
    return pa.array(values, pa.int64()).cast(pa.timestamp(unit, zone))


def key_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Keys as a column of `kind`; in floats, as pandas leaves them, a missing key is NaN."""
    if pa.types.is_floating(kind):
        return pa.array([float("nan") if value is None else float(value) for value in values], kind)
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(values, kind)


def write_source(folder: Path, source: Source) -> None:
    folder.mkdir(parents=True)
    kind = FEATURES[source.feature][0]
    for number, rows in enumerate(source.files):
        columns = {
            f"key_{position}": key_array([row.keys[position] for row in rows], source.key_types[number][position])
            for position in range(len(source.kinds))
        }
        # A float16 cannot be made from None and numpy scalars at once in every version; floats always work.
        values = [float(row.value) if isinstance(row.value, np.float16) else row.value for row in rows]
        value_type = kind.value_type if pa.types.is_dictionary(kind) else kind
        feature = pa.array(values, value_type)
        columns["value"] = feature.dictionary_encode() if pa.types.is_dictionary(kind) else feature
        columns["at"] = instants([row.time for row in rows], source.units[number], source.zone)
        if source.has_created:
            columns["made"] = instants([row.created for row in rows], source.units[number], source.zone)
        pq.write_table(pa.table(columns), folder / f"part-{number}.parquet", row_group_size=2)


def spine_table(case: Case) -> pa.Table:
    columns = {
        key: key_array([row[position] for row in case.keys], case.key_types[position])
        for position, key in enumerate(SPINE_KEYS)
    }
    columns["when"] = instants(case.times, case.unit, case.zone)
    columns["number"] = pa.array(range(len(case.keys)), pa.int64())
    return pa.table(columns)


def views_of(case: Case, folder: Path) -> list[JoinView]:
    views = []
    for number, source in enumerate(case.sources):
        write_source(folder / f"view-{number}", source)
        views.append(
            JoinView(
                name=f"view_{number}",
                path=str(folder / f"view-{number}"),
                keys=tuple((f"key_{position}", key) for position, key in enumerate(source.spine_keys)),
                timestamp_field="at",
                created="made" if source.has_created else None,
                ttl=source.ttl,
                columns=(("value", f"value_{number}"),),
                known_only=source.known_only,
                feature_timestamp=f"time_{number}" if source.told else None,
            )
        )
    return views


def plans(join: Join) -> Iterator[JoinPlan]:
    """The plan as it is, then small buckets, then shuffles, whole and with chunks of one view row."""
    plan = join.plan
    yield plan
    yield replace(plan, bucket_rows=3)
    keyless = tuple(index for index, view in enumerate(join.views) if not view.keys)
    keyed = [index for index, view in enumerate(join.views) if view.keys]
    for partitions, bucket_rows, first in ((1, 100, True), (2, 1, False), (5, 4, True)):
        shared: dict[str, list[int]] = {}
        for index in keyed:
            keys = join.views[index].spine_keys
            shared.setdefault(keys[0 if first else -1], []).append(index)
        shuffles = tuple(Shuffle(key, tuple(indexes), partitions) for key, indexes in shared.items())
        chunks = tuple(1 if partitions == 2 else 4 for _ in join.views)
        yield JoinPlan(plan.rows, bucket_rows, keyless, shuffles, chunks)
    if len(keyed) > 1:  # one view whole, the others shuffled, each by itself
        shuffles = tuple(Shuffle(join.views[index].spine_keys[0], (index,), 3) for index in keyed[1:])
        yield JoinPlan(plan.rows, 2, (*keyless, keyed[0]), shuffles, tuple(2 for _ in join.views))


def joined(join: Join) -> pa.Table:
    return pa.concat_tables(list(joined_buckets(join, lambda table: table, lambda _: None)))


def assert_same(result: pa.Table, expected: pa.Table, plan: JoinPlan) -> None:
    """Equal types and values; unlike in Arrow's comparison, NaN equals NaN."""
    assert result.schema.equals(expected.schema), plan
    assert repr(result.to_pydict()) == repr(expected.to_pydict()), plan


def check(case: Case, folder: Path) -> None:
    spine = spine_table(case)
    rows: Any = TableRows(spine)
    if case.in_files:
        files = folder / "spine"
        files.mkdir()
        half = spine.num_rows // 2
        pq.write_table(spine.slice(0, half), files / "part-0.parquet", row_group_size=2)
        pq.write_table(spine.slice(half), files / "part-1.parquet", row_group_size=3)
        rows = ParquetRows.of(files)
    join = new_join(rows, views_of(case, folder), "when", budget=PLENTY, folder=None)
    expected = expectation(case, join)
    for number, plan in enumerate(plans(join)):
        work = folder / f"work-{number}"
        result = joined(replace(join, plan=plan, folder=work, identity=str(work)))
        assert_same(result, expected, plan)
        if number in (1, 3):
            out = folder / f"out-{number}"
            planned = replace(join, plan=plan, folder=folder / f"work-out-{number}", identity=str(out))
            files = write_joined(planned, lambda table: table, out, "local", lambda _: None)
            assert [file.name for file in files] == [f"part-{bucket:05d}.parquet" for bucket in range(plan.buckets)]
            assert pq.ParquetFile(files[0]).schema_arrow.names == expected.schema.names
            written = pa.concat_tables([pq.read_table(file) for file in files])
            assert written["number"].to_pylist() == list(range(len(case.keys)))
            assert repr(written.to_pydict()) == repr(pq_roundtrip(expected, folder).to_pydict())


def pq_roundtrip(table: pa.Table, folder: Path) -> pa.Table:
    """`table` after Parquet, which holds seconds as milliseconds."""
    pq.write_table(table, folder / "round.parquet")
    return pq.read_table(folder / "round.parquet")


def expectation(case: Case, join: Join) -> pa.Table:
    """The result, row by row. Types are those of the sources."""
    result = join.spine.read(0, len(case.keys), join.spine_columns)
    positions = {key: position for position, key in enumerate(SPINE_KEYS)}
    for number, source in enumerate(case.sources):
        found = []
        for row, time in zip(case.keys, case.times, strict=True):
            wanted = tuple(row[positions[key]] for key in source.spine_keys)
            found.append(best_row(source, wanted, None if time is None else time // 1000))
        kind = join.views[number].rows.schema.field("value").type
        assert kind.id == FEATURES[source.feature][0].id
        values = [None if row is None else row.value for row in found]
        values = [float(value) if isinstance(value, np.float16) else value for value in values]
        if pa.types.is_dictionary(kind):
            column = pa.array(values, kind.value_type).dictionary_encode()
        else:
            column = pa.array(values, kind)
        result = result.append_column(f"value_{number}", column)
        if source.told:
            times = [None if row is None or row.time is None else row.time // 1000 * 1000 for row in found]
            result = result.append_column(f"time_{number}", instants(times, "us", "UTC"))
    return result


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_every_plan_gives_the_brute_force_table(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(case, Path(folder))


def one_view(rows: Sequence[FeatureRow], **changes: Any) -> Source:
    """A view by user of integers."""
    source = Source(
        kinds=("integer",),
        spine_keys=("user",),
        feature="large",
        files=(tuple(rows),),
        key_types=((pa.int64(),),),
        units=("us",),
        zone="UTC",
        ttl=None,
        has_created=True,
        known_only=False,
        told=True,
    )
    return replace(source, **changes)


def spine_of(times: Sequence[int | None], sources: Sequence[Source], users: Sequence[int | None] | None = None) -> Case:
    """Rows of user 1, seller 2 and shop a at microseconds `times`."""
    return Case(
        keys=tuple((user, 2, "a") for user in users or [1] * len(times)),
        times=tuple(None if time is None else time * 1000 for time in times),
        key_types=(pa.int64(), pa.int64(), pa.string()),
        unit="us",
        zone="UTC",
        sources=tuple(sources),
        in_files=False,
    )


def row(user: int | None, time: int | None, created: int | None, value: int | None) -> FeatureRow:
    """Times in microseconds."""
    return FeatureRow(
        (user,), None if time is None else time * 1000, None if created is None else created * 1000, value
    )


NAMED = {
    "exactly ttl old is kept, a microsecond older is not": spine_of(
        [SECOND, SECOND + 1], [one_view([row(1, 0, 0, 7)], ttl=SECOND)]
    ),
    "the later created wins": spine_of([5], [one_view([row(1, 5, made, made) for made in (3, 9, 7)])]),
    "a null created is the smallest": spine_of([5], [one_view([row(1, 5, -9, 1), row(1, 5, None, 2)])]),
    "of equal rows the last one wins": spine_of([5], [one_view([row(1, 5, 3, 1), row(1, 5, 3, 2)])]),
    "an expired newest row does not uncover an older one": spine_of(
        [10], [one_view([row(1, 3, 0, 1), row(1, 2, 9, 2)], ttl=6)]
    ),
    "null keys match nothing": spine_of([5, 5], [one_view([row(None, 0, 0, 1), row(1, 0, 0, 2)])], users=[None, 1]),
    "null times match nothing": spine_of([None, 5], [one_view([row(1, None, 0, 1), row(1, 0, 0, 2)])]),
    "a late backfill is not known yet": spine_of(
        [5, 8, 9], [one_view([row(1, 1, 1, 1), row(1, 3, 8, 2), row(1, 2, 9, 3)], known_only=True)]
    ),
    "known only, and the best known row has expired": spine_of(
        [9], [one_view([row(1, 3, 8, 2), row(1, 1, 9, 3)], known_only=True, ttl=5)]
    ),
    "an empty view": spine_of([5, 6], [one_view([])]),
    "an empty spine": spine_of([], [one_view([row(1, 0, 0, 1)])]),
    "nothing at all": spine_of([], [one_view([])]),
    "one row": spine_of([5], [one_view([row(1, 5, 0, BIG + 1)])]),
    "a view of the whole shop": spine_of(
        [5, 6], [one_view([FeatureRow((), 5_500, 0, 4)], kinds=(), spine_keys=(), key_types=((),))]
    ),
    "a dictionary with a bucket of misses only": spine_of(
        [5] * 6,
        [
            one_view(
                [FeatureRow((1,), 0, 0, "red"), FeatureRow((2,), 0, 0, "green")],
                feature="choice",
            )
        ],
        users=[9, 9, 9, 1, 2, 9],
    ),
    "a spine whose keys are all missing, and have no type": replace(
        spine_of([5, 6], [one_view([row(1, 0, 0, 1)])], users=[None, None]),
        key_types=(pa.null(), pa.int64(), pa.string()),
    ),
    "text keys, all missing in the view": spine_of(
        [5],
        [one_view([FeatureRow((None,), 0, 0, 1)], kinds=("text",), spine_keys=("shop",), key_types=((pa.null(),),))],
    ),
    "text keys, all missing in the spine": replace(
        spine_of(
            [5],
            [
                one_view(
                    [FeatureRow(("a",), 0, 0, 1)], kinds=("text",), spine_keys=("shop",), key_types=((pa.string(),),)
                )
            ],
        ),
        keys=((1, 2, None),),
        key_types=(pa.int64(), pa.int64(), pa.null()),
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_named_cases(name: str, tmp_path: Path) -> None:
    check(NAMED[name], tmp_path)
