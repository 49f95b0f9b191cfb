"""A part of the spine, small enough to be joined and trained on several times."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.data.join.fragments import atomic_file
from mtl_ray.data.join.parquet_rows import chunk_ranges
from mtl_ray.data.spine import ROW_ID, SCAN_ROWS, Spine
from mtl_ray.data.splits.hashing import stream_key, uniform
from mtl_ray.errors import DataError


def write_sample(spine: Spine, file: Path, rows: int, seed: int) -> int:
    """Write about `rows` rows of `spine` (all, where it has no more) to `file`, in order; returns how many.

    Each row is drawn by its row id alone, so the sample covers the spine's time evenly and a split by time cuts it
    where it cuts the spine. The feature tables stay whole: a row's values are those that it has in the full spine.
    """
    share = rows / spine.num_rows
    key = stream_key("leak check", seed)
    schema = pa.schema([field for field in spine.schema if field.name != ROW_ID])
    written = 0
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as aside, pq.ParquetWriter(aside, schema, compression="lz4") as writer:
        for begin, end in chunk_ranges(spine.num_rows, SCAN_ROWS):
            table = spine.read(begin, end, (*spine.columns, ROW_ID))
            if share < 1.0:
                table = table.filter(pa.array(uniform(table[ROW_ID].to_numpy(), key) < share))
            writer.write_table(table.drop_columns([ROW_ID]))
            written += table.num_rows
    if written == 0:
        raise DataError("The sample of the spine has no rows.", where="--rows", found=rows, fix="a larger --rows")
    return written
