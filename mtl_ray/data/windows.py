"""The rows of a plan's windows, read in this process.

This module runs in Ray Data's processes too and does not import torch, which would cost each of them seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.data.packing import packed
from mtl_ray.data.plan import BatchPlan, Chunk, Segment, Window
from mtl_ray.storage import filesystem_of, is_remote, patient

PADDING_ROW_ID = -1


def local_batches(plan: BatchPlan, columns: list[str], ahead: int = 1) -> Iterator[pa.Table]:
    """The plan's global batches in this process, the same rows in the same order as `batch_stream` has for one worker.

    `ahead`: windows that a thread reads while others are being used. Without Ray Data, so that a short training does
    not wait for the start of a stream.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="windows") as reader:
        waiting: deque[tuple[Future[pa.Table], Segment, int]] = deque()
        for segment, window, skipped in plan.items:
            waiting.append((reader.submit(read_window, segment.window(window), columns), segment, skipped))
            if len(waiting) > ahead:
                yield from _batches(*waiting.popleft())
        while waiting:
            yield from _batches(*waiting.popleft())


def _batches(table: Future[pa.Table], segment: Segment, skipped: int) -> Iterator[pa.Table]:
    whole, size = table.result(), segment.global_batch_size
    for begin in range(skipped * size, whole.num_rows, size):
        yield whole.slice(begin, size)


def read_window(window: Window, columns: list[str]) -> pa.Table:
    """Read, permute and pad one window. Padding repeats the first row with row_id -1 and nothing observed."""
    tables = []
    for read in window.reads:
        group = _row_group(read.chunk, columns)
        tables.append(group.slice(read.begin, read.end - read.begin))
    table = pa.concat_tables(tables).combine_chunks()
    if (order := window.permutation) is not None:
        table = table.take(pa.array(order))
    if window.padding:
        table = pa.concat_tables([table, padding(table, window.padding)])
    return table.combine_chunks()


def window_bytes(plan: BatchPlan, columns: list[str]) -> int:
    """About what a window's rows take in memory, by what the first row group takes."""
    chunk = plan.train[0]
    segment = plan.train_segment(1)
    rows = min(segment.rows, segment.batches_per_window * plan.global_batch_size)
    return -(-rows * _column_bytes(chunk, columns) // chunk.rows)


@patient
def _column_bytes(chunk: Chunk, columns: list[str]) -> int:
    with _opened(chunk) as file:
        group = file.metadata.row_group(chunk.row_group)
        found = [group.column(at) for at in range(group.num_columns)]
    return sum(column.total_uncompressed_size for column in found if column.path_in_schema.split(".")[0] in columns)


@patient
def _row_group(chunk: Chunk, columns: list[str]) -> pa.Table:
    with _opened(chunk) as file:
        return file.read_row_group(chunk.row_group, columns=columns)


def _opened(chunk: Chunk) -> pq.ParquetFile:
    filesystem, path = filesystem_of(chunk.file) if is_remote(chunk.file) else (None, chunk.file)
    return pq.ParquetFile(path, filesystem=filesystem, pre_buffer=filesystem is not None)


def padding(table: pa.Table, rows: int) -> pa.Table:
    """`rows` times the first row of `table`, with row_id -1 and nothing observed."""
    filled = table.take(pa.array(np.zeros(rows, dtype=np.int64)))
    observed = table.schema.field("observed")
    nothing = packed(np.zeros((rows, observed.type.list_size), dtype=observed.type.value_type.to_pandas_dtype()))
    for name, values in (("observed", nothing), ("row_id", pa.array(np.full(rows, PADDING_ROW_ID)))):
        filled = filled.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    return filled
