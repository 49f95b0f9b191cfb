"""A `BatchPlan` as one Ray Data stream.

One streaming execution covers the whole training, validation passes included: Ray Data needs seconds from the start
of an execution to its first block, and here it reads the next epoch while this one is still being trained.

This module runs in Ray Data's processes and does not import torch, which would cost each of them seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from mtl_ray.data.plan import BatchPlan, Window
from mtl_ray.data.scheduling_pace import UnhurriedScheduling
from mtl_ray.data.windows import padding, read_window, window_bytes
from mtl_ray.process_memory import keep_freed_memory
from mtl_ray.schema import BatchSchema

READ_AHEAD_BYTES = 64 * 2**20
"""Of rows that are read and wait for a rank, if that is more than `READ_AHEAD_WINDOWS` for all of them: memory that has
been written before is fast, and a training is no faster for having all of its rows in memory."""

READ_AHEAD_WINDOWS = 8
"""With too few, Ray Data waits for a rank to take a window before it reads another."""

READERS = 2
"""Tasks at a time for up to five ranks, then one for every two: a core decodes more than two million rows of 33 columns
a second."""

SHARES = "shares"
"""The column of a stream."""


def batch_stream(plan: BatchPlan, columns: list[str], workers: int, nodes: Iterable[str]) -> ray.data.Dataset:
    """The plan's rows as a Ray Dataset of one column, whose every row is a rank's part of one window.

    Such a part is an Arrow stream with a record batch for the rank's share of each global batch; `shares` reads it. Ray
    Data spends milliseconds on each block, whatever its size, and a window has many batches. Row k * workers + r is of
    rank r, and a block by itself: under `preserve_order` and an equal `streaming_split`, Ray hands the blocks out in
    turn, so that rank r receives exactly its shares, in order. Its context holds the execution options for that, and
    how many bytes may be read ahead.

    The tasks that read ask for no CPU: where workers who wait for their rows hold all of a cluster's, they would wait
    for one for ever.

    Args:
        plan: what to read.
        columns: the columns of the snapshot to read.
        workers: number of ranks. Where they do not divide the global batch size, the shares are filled up with padding
            rows to the same length, `share_of`.
        nodes: Ray's ids of those that may read.
    """
    stream = ray.data.read_datasource(
        WindowSource(plan, columns, workers),
        override_num_blocks=len(plan.items),
        num_cpus=0,
        concurrency=max(READERS, workers // 2),
        label_selector={"ray.io/node-id": f"in({','.join(nodes)})"},
    )
    stream.context.enable_progress_bars = False
    # However small, each row that a task yields is a block by itself.
    stream.context.target_max_block_size = 1
    stream.context.execution_options = ray.data.ExecutionOptions(
        preserve_order=True,
        resource_limits=ray.data.ExecutionResources.for_limits(
            object_store_memory=max(READ_AHEAD_BYTES * workers, READ_AHEAD_WINDOWS * window_bytes(plan, columns))
        ),
    )
    stream.context.custom_execution_callback_classes = [UnhurriedScheduling]
    return stream


class WindowSource(Datasource):
    """A Ray Data source with a task for each window, in the order of the plan."""

    def __init__(self, plan: BatchPlan, columns: list[str], workers: int) -> None:
        super().__init__()
        self._plan = plan
        self._columns = columns
        self._workers = workers

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown: Ray Data would choose the number of tasks by it, and that is given."""
        return None

    def get_read_tasks(self, parallelism: int, *args: Any, **kwargs: Any) -> list[ReadTask]:  # noqa: ARG002
        """What Ray Data runs; its arguments could only ask for other tasks."""
        metadata = BlockMetadata(num_rows=self._workers, size_bytes=None, exec_stats=None, input_files=None)
        return [
            ReadTask(
                WindowRead(segment.window(window), skipped, segment.global_batch_size, self._columns, self._workers),
                metadata,
            )
            for segment, window, skipped in self._plan.items
        ]


@dataclass(frozen=True)
class WindowRead:
    """The work of one task; its fields travel to it."""

    window: Window
    skipped: int
    """Global batches at the beginning of the window to leave out."""
    global_batch_size: int
    columns: list[str]
    workers: int

    def __call__(self) -> Iterator[pa.Table]:
        """The window's row of `batch_stream` for each rank, in rank order, each a table by itself."""
        keep_freed_memory()
        pa.set_memory_pool(pa.system_memory_pool())
        table = read_window(self.window, self.columns).slice(self.skipped * self.global_batch_size)
        parts = _by_rank(table, self.workers, self.global_batch_size)
        for rank in range(self.workers):
            yield parts.slice(rank, 1)


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
                    rows = pa.concat_tables([rows, padding(table, share - own)]).combine_chunks()
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


def batch_columns(schema: BatchSchema) -> list[str]:
    """The snapshot's columns that a `Batch` is made of."""
    packed = [name for name, features in (("categorical", schema.categorical), ("numeric", schema.numeric)) if features]
    each = (("list", schema.lists), ("age", schema.ages), ("vector", schema.vectors))
    single = [f"{kind}_{feature.name}" for kind, features in each for feature in features]
    inputs = ["task_inputs"] if schema.task_inputs else []
    return [*packed, *single, *inputs, "labels", "observed", "sample_weight", "row_id"]
