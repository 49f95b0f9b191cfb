"""A `BatchPlan` as one Ray Data stream.

One streaming execution covers the whole training, validation passes included: Ray Data needs seconds from the start
of an execution to its first block, and here it reads the next epoch while this one is still being trained.

This module runs in Ray Data's processes and does not import torch, which would cost each of them seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

from mtl_ray.data.packing import packed
from mtl_ray.data.plan import BatchPlan, Chunk, Segment, Window
from mtl_ray.data.scheduling_pace import UnhurriedScheduling
from mtl_ray.schema import BatchSchema
from mtl_ray.storage import filesystem_of, is_remote, patient

PADDING_ROW_ID = -1
SHARES = "shares"
"""The column of a stream."""


def batch_stream(plan: BatchPlan, columns: list[str], workers: int) -> ray.data.Dataset:
    """The plan's rows as a Ray Dataset of one column, whose every row is a rank's part of one window.

    Such a part is an Arrow stream with a record batch for the rank's share of each global batch; `shares` reads it. Ray
    Data spends milliseconds on each block, whatever its size, and a window has many batches. Row k * workers + r is of
    rank r, and a block by itself: under `preserve_order` and an equal `streaming_split`, Ray hands the blocks out in
    turn, so that rank r receives exactly its shares, in order.

    Args:
        plan: what to read.
        columns: the columns of the snapshot to read.
        workers: number of ranks. Where they do not divide the global batch size, the shares are filled up with padding
            rows to the same length, `share_of`.
    """
    items = plan.items

    def read(ids: dict[str, Any]) -> pa.Table:
        segment, window, skipped = items[int(ids["id"][0])]
        table = read_window(segment.window(window), columns).slice(skipped * segment.global_batch_size)
        return _by_rank(table, workers, segment.global_batch_size)

    stream = ray.data.range(len(items), override_num_blocks=len(items)).map_batches(read, batch_size=1)
    stream = stream.repartition(target_num_rows_per_block=1)
    stream.context.custom_execution_callback_classes = [UnhurriedScheduling]
    return stream


def share_of(global_batch_size: int, workers: int) -> int:
    """Rows of each global batch that every rank receives."""
    return -(-global_batch_size // workers)


def _by_rank(table: pa.Table, ranks: int, size: int) -> pa.Table:
    """Global batches of `size` rows, one after the other, to one row a rank."""
    sink = pa.BufferOutputStream()
    ends = [0]
    share = share_of(size, ranks)
    for rank in range(ranks):
        own = max(0, min(share, size - rank * share))
        with pa.ipc.new_stream(sink, table.schema) as writer:
            for begin in range(0, table.num_rows, size):
                rows = table.slice(begin + rank * share, own)
                if own < share:
                    rows = pa.concat_tables([rows, _padding(table, share - own)]).combine_chunks()
                writer.write_table(rows)
        ends.append(sink.tell())
    offsets = pa.py_buffer(np.array(ends, dtype=np.int64))
    parts = pa.LargeBinaryArray.from_buffers(pa.large_binary(), ranks, [None, offsets, sink.getvalue()])
    return pa.table({SHARES: parts})


def shares(block: pa.Table) -> Iterator[pa.Table]:
    """A rank's share of each global batch in a block of `batch_stream`; views of its memory."""
    for part in block.column(SHARES):
        with pa.ipc.open_stream(part.as_buffer()) as batches:
            for batch in batches:
                yield pa.Table.from_batches([batch])


def stream_options() -> ray.data.ExecutionOptions:
    """The execution options that `batch_stream` relies on."""
    return ray.data.ExecutionOptions(preserve_order=True)


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
    if window.permutation is not None:
        table = table.take(pa.array(window.permutation))
    if window.padding:
        table = pa.concat_tables([table, _padding(table, window.padding)])
    return table.combine_chunks()


@patient
def _row_group(chunk: Chunk, columns: list[str]) -> pa.Table:
    filesystem, path = filesystem_of(chunk.file) if is_remote(chunk.file) else (None, chunk.file)
    with pq.ParquetFile(path, filesystem=filesystem, pre_buffer=filesystem is not None) as file:
        return file.read_row_group(chunk.row_group, columns=columns)


def _padding(table: pa.Table, rows: int) -> pa.Table:
    padding = table.take(pa.array(np.zeros(rows, dtype=np.int64)))
    observed = table.schema.field("observed")
    nothing = packed(np.zeros((rows, observed.type.list_size), dtype=observed.type.value_type.to_pandas_dtype()))
    for name, values in (("observed", nothing), ("row_id", pa.array(np.full(rows, PADDING_ROW_ID)))):
        padding = padding.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    return padding


def batch_columns(schema: BatchSchema) -> list[str]:
    """The snapshot's columns that a `Batch` is made of."""
    packed = [name for name, features in (("categorical", schema.categorical), ("numeric", schema.numeric)) if features]
    each = (("list", schema.lists), ("age", schema.ages), ("vector", schema.vectors))
    single = [f"{kind}_{feature.name}" for kind, features in each for feature in features]
    inputs = ["task_inputs"] if schema.task_inputs else []
    return [*packed, *single, *inputs, "labels", "observed", "sample_weight", "row_id"]
