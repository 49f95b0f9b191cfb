"""From prepared buckets to shuffled shards.

Each bucket is encoded once and cut by the shard that each row goes to; a shard gathers its rows from all buckets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mtl_ray.data.building.buckets import BucketRecord, PreparedRows
from mtl_ray.data.building.build import Build
from mtl_ray.data.join.fragments import atomic_file, fragment_stands, new_fragment, read_labelled
from mtl_ray.data.manifest import ROW_GROUP_ROWS, FileRecord
from mtl_ray.data.packing import packed
from mtl_ray.data.preprocessing import AGE_PREFIX, LIST_PREFIX, VECTOR_PREFIX, Preprocessing
from mtl_ray.data.spine import EVENT_TIMESTAMP, ROW_ID
from mtl_ray.data.splits import PARTS
from mtl_ray.errors import DataError
from mtl_ray.storage import sha256

TASK_INPUTS = "task_inputs"

PACKED_COLUMNS = ("categorical", "numeric", TASK_INPUTS, "labels", "observed", "sample_weight", ROW_ID)

PACKED_PREFIXES = (LIST_PREFIX, AGE_PREFIX, VECTOR_PREFIX)
"""Of columns that stand for one feature each."""

COMPRESSION = "lz4"
"""Of row groups of 14 ids, 30 numbers and a list of 50 ids, lz4 read 1.1 million rows/s on one core (none 1.5, zstd
0.9) in 60 % of the bytes; dictionaries would read and write slower."""

_PLACE = "__place"
"""Place of a row within its part, int64."""


@dataclass(frozen=True)
class ShardPlan:
    """Where every row goes: the training part in a random order, the other parts in the spine's."""

    written: tuple[tuple[int, ...], ...]
    """Bucket -> part -> rows."""
    rows_per_shard: int

    def rows(self, part: int) -> int:
        """Rows of a part."""
        return sum(bucket[part] for bucket in self.written)

    def begin(self, bucket: int, part: int) -> int:
        """How many rows of the part the buckets before `bucket` write."""
        return sum(before[part] for before in self.written[:bucket])

    def shards(self, part: int) -> int:
        """Number of a part's shards."""
        return -(-self.rows(part) // self.rows_per_shard)

    def first_label(self, part: int) -> int:
        """Label of the part's first shard; shards are numbered over all parts."""
        return sum(self.shards(before) for before in range(part))

    def labels(self) -> list[tuple[int, int]]:
        """(part, number within the part) of every shard, by label."""
        return [(part, number) for part in range(len(PARTS)) for number in range(self.shards(part))]


def plan_shards(build: Build, records: Sequence[BucketRecord]) -> ShardPlan:
    """Draw the order of the training rows and write it to `build.order_file`: 8 bytes a row, in memory three times."""
    plan = ShardPlan(tuple(record.written for record in records), build.config.rows_per_shard)
    order = np.random.default_rng(build.config.shuffle_seed).permutation(plan.rows(0))
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    with atomic_file(build.order_file) as aside, aside.open("wb") as file:
        np.save(file, place)
    return plan


def check_column_names(carried: tuple[str, ...]) -> None:
    """Raise `DataError` where a raw column has the name of an encoded one."""
    for name in carried:
        if name in PACKED_COLUMNS or name.startswith(PACKED_PREFIXES):
            raise DataError(
                f"The column name {name!r} is taken by the training set.",
                where=f"spine column {name}",
                allowed=f"any name but {', '.join(PACKED_COLUMNS)}, {'*, '.join(PACKED_PREFIXES)}*",
                fix="rename the column",
            )


def encode_bucket(build: Build, plan: ShardPlan, bucket: int) -> int:
    """Encode a bucket's rows and cut them by shard; returns how many are written."""
    file = build.encoded_file(bucket)
    if fragment_stands(file):
        return sum(plan.written[bucket])
    rows = PreparedRows(build.bucket_folder(bucket))
    encoded = _encoded(rows, _preprocessing(build.preprocessing_file), build.carried, leaks=build.leaks)
    with new_fragment(file, encoded.schema.append(pa.field(_PLACE, pa.int64()))) as writer:
        for part in range(len(PARTS)):
            chosen = np.flatnonzero(rows.part == part)
            chosen = np.repeat(chosen, rows.repeats[chosen])
            begin = plan.begin(bucket, part)
            place = np.arange(begin, begin + chosen.size)
            if part == PARTS.index("train"):
                place = np.load(build.order_file, mmap_mode="r")[place]
            order = np.argsort(place)
            chosen, place = chosen[order], place[order]
            table = encoded.take(pa.array(chosen)).append_column(_PLACE, pa.array(place))
            shard = place // plan.rows_per_shard
            starts = np.flatnonzero(np.diff(shard, prepend=-1))
            for first, last in zip(starts, np.append(starts, shard.size)[1:], strict=True):
                writer.write(table.slice(first, last - first), plan.first_label(part) + int(shard[first]))
    return sum(plan.written[bucket])


def write_shard(build: Build, plan: ShardPlan, label: int) -> tuple[int, FileRecord]:
    """Write one shard, or find it written; returns its part and its record."""
    part, number = plan.labels()[label]
    name = f"{PARTS[part]}/part-{number:05d}.parquet"
    file = build.result / name
    if not file.exists():
        table = read_labelled([build.encoded_file(bucket) for bucket in range(len(plan.written))], label)
        assert table is not None
        table = table.take(pc.sort_indices(table[_PLACE])).drop_columns([_PLACE])
        with atomic_file(file) as aside:
            pq.write_table(
                _with_nullability(table, build.carried),
                aside,
                row_group_size=ROW_GROUP_ROWS,
                compression=COMPRESSION,
                use_dictionary=False,
                write_statistics=False,
            )
    rows = min(plan.rows_per_shard, plan.rows(part) - number * plan.rows_per_shard)
    return part, FileRecord(path=name, rows=rows, bytes=file.stat().st_size, sha256=sha256(file))


def _encoded(rows: PreparedRows, preprocessing: Preprocessing, carried: Sequence[str], *, leaks: bool) -> pa.Table:
    """The shard columns of a bucket's rows, each row once.

    `observed` is uint8 (0 or 1), not bool: Arrow packs truth values to bits, which no tensor can share.
    """
    table = preprocessing.encode(rows.raw, admit_future=leaks)
    inputs = {} if rows.task_inputs is None else {TASK_INPUTS: packed(rows.task_inputs)}
    columns = {
        **inputs,
        "labels": packed(rows.labels.values),
        "observed": packed(rows.labels.observed.astype(np.uint8)),
        "sample_weight": pa.array(rows.sample_weight),
        ROW_ID: rows.raw[ROW_ID],
    }
    for name, column in columns.items():
        table = table.append_column(pa.field(name, column.type, nullable=False), column)
    for name in carried:
        table = table.append_column(name, rows.raw[name])
    return table


def _with_nullability(table: pa.Table, carried: Sequence[str]) -> pa.Table:
    """Columns without nulls are declared so: Parquet then stores no definition levels."""
    fields = []
    for field in table.schema:
        nullable = field.name in carried and field.name != EVENT_TIMESTAMP and table[field.name].null_count > 0
        fields.append(field.with_nullable(nullable))
    return table.cast(pa.schema(fields))


@lru_cache(maxsize=1)
def _preprocessing(file: Path) -> Preprocessing:
    """Read once a process: a vocabulary may hold a million values."""
    return Preprocessing.model_validate_json(file.read_bytes())
