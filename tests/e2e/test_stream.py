"""What training relies on of Ray Data: every rank receives its share of every global batch, in order."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from ray.data import ExecutionResources
from ray.data._internal.execution.execution_callback import ExecutionCallback

from mtl_ray.data import stream
from mtl_ray.data.packing import packed
from mtl_ray.data.plan import BatchPlan, Position, chunks_of
from mtl_ray.data.scheduling_pace import PAUSE_SECONDS
from mtl_ray.data.stream import (
    READ_AHEAD_BYTES,
    READ_AHEAD_WINDOWS,
    batch_stream,
    share_of,
    shares,
)
from mtl_ray.data.windows import PADDING_ROW_ID, local_batches, read_window, window_bytes

pytestmark = pytest.mark.usefixtures("ray_cluster")

COLUMNS = ["numeric", "observed", "row_id"]
GLOBAL_BATCH = 48


def write_shard(path: Path, first: int, rows: int, group: int = 64) -> tuple[str, int]:
    ids = np.arange(first, first + rows)
    columns = {
        "numeric": packed(np.stack([ids, -ids], axis=1).astype(np.float32)),
        "observed": packed(np.ones((rows, 1), dtype=np.uint8)),
        "row_id": pa.array(ids),
    }
    fields = [pa.field(name, column.type, nullable=False) for name, column in columns.items()]
    pq.write_table(pa.table(list(columns.values()), schema=pa.schema(fields)), path, row_group_size=group)
    return str(path), rows


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> BatchPlan:
    folder = tmp_path_factory.mktemp("shards")
    train = [write_shard(folder / "a", 0, 300), write_shard(folder / "b", 300, 130)]
    validation = [write_shard(folder / "c", 1000, 70)]
    return BatchPlan(
        train=chunks_of(train, 64),
        validation=chunks_of(validation, 64),
        epochs=2,
        global_batch_size=GLOBAL_BATCH,
        window_rows=100,
        seed=5,
    )


def here() -> list[str]:
    return [ray.get_runtime_context().get_node_id()]


def delivered(plan: BatchPlan, workers: int) -> list[list[pa.Table]]:
    """By rank, the shares as they arrive; the first rank is slower than the others."""

    # Within the function, so that it travels by value: Ray's processes cannot import test modules.
    @ray.remote(num_cpus=0)
    def consume(shard: Any, pause: float) -> list[pa.Table]:
        blocks = []
        for block in shard.iter_batches(batch_size=None, batch_format="pyarrow"):
            blocks += shares(block)
            time.sleep(pause)
        return blocks

    shards = batch_stream(plan, COLUMNS, workers, here()).streaming_split(workers, equal=True)
    return ray.get([consume.remote(shard, 0.02 * (rank == 0)) for rank, shard in enumerate(shards)])


def expected(plan: BatchPlan) -> list[list[int]]:
    """The row ids of every global batch, read without Ray."""
    ids: list[int] = []
    for segment, window, skipped in plan.items:
        table = read_window(segment.window(window), COLUMNS)
        ids += table["row_id"].to_pylist()[skipped * plan.global_batch_size :]
    return [ids[begin : begin + plan.global_batch_size] for begin in range(0, len(ids), plan.global_batch_size)]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_global_batch_is_the_same_for_any_world_size(plan: BatchPlan, workers: int) -> None:
    ranks = delivered(plan, workers)
    batches = expected(plan)
    assert [len(blocks) for blocks in ranks] == [len(batches)] * workers
    for number, batch in enumerate(batches):
        shares = [ranks[rank][number] for rank in range(workers)]
        assert {share.num_rows for share in shares} == {GLOBAL_BATCH // workers}
        assert [row for share in shares for row in share["row_id"].to_pylist()] == batch


def test_it_is_read_though_every_cpu_is_held(plan: BatchPlan) -> None:
    """As workers do, who wait for what is read."""

    class Worker:
        def ready(self) -> None:
            pass

    every = ray.cluster_resources()["CPU"]
    worker = ray.remote(Worker).options(num_cpus=every).remote()
    try:
        ray.get(worker.ready.remote())
        assert len(delivered(plan, 1)[0]) == len(expected(plan))
        assert ray.available_resources().get("CPU", 0.0) == 0.0
    finally:
        ray.kill(worker)


@pytest.mark.parametrize("workers", [5, 7])
def test_shares_that_are_not_equal_are_filled_up(plan: BatchPlan, workers: int) -> None:
    ranks = delivered(plan, workers)
    for number, batch in enumerate(expected(plan)):
        shares = [ranks[rank][number] for rank in range(workers)]
        assert {share.num_rows for share in shares} == {share_of(GLOBAL_BATCH, workers)}
        rows = pa.concat_tables(shares)
        ids = rows["row_id"].to_numpy()
        assert [row for row in ids if row != PADDING_ROW_ID] == [row for row in batch if row != PADDING_ROW_ID]
        observed = rows["observed"].combine_chunks().flatten().to_numpy()
        assert np.array_equal(observed == 1, ids != PADDING_ROW_ID)


def test_one_process_reads_the_same_batches_without_ray_data(plan: BatchPlan) -> None:
    for start in (Position(), Position(epoch=1, batch=2), Position(epoch=2, batch=4)):
        resumed = replace(plan, start=start)
        batches = [table["row_id"].to_pylist() for table in local_batches(resumed, COLUMNS)]
        assert batches == expected(resumed)


def test_an_epoch_delivers_every_row_once_and_padding_observes_nothing(plan: BatchPlan) -> None:
    (blocks,) = delivered(plan, 1)
    rows = pa.concat_tables(blocks[: plan.batches_per_epoch])
    ids = rows["row_id"].to_numpy()
    assert sorted(ids[ids != PADDING_ROW_ID]) == list(range(430))
    observed = rows["observed"].combine_chunks().flatten().to_numpy()
    assert np.array_equal(observed == 1, ids != PADDING_ROW_ID)
    first = rows["numeric"].combine_chunks().flatten().to_numpy().reshape(-1, 2)[:, 0]
    real = ids != PADDING_ROW_ID
    assert np.array_equal(first[real], ids[real])


def test_a_resumed_stream_goes_on_where_it_stood(plan: BatchPlan) -> None:
    resumed = delivered(replace(plan, start=Position(epoch=2, batch=3)), 2)
    per_epoch = plan.batches_per_epoch + plan.validation_segment(1).batches
    rest = expected(plan)[per_epoch + 3 :]
    for number, batch in enumerate(rest):
        assert [row for rank in resumed for row in rank[number]["row_id"].to_pylist()] == batch
    assert len(resumed[0]) == len(rest)


def test_rows_read_ahead_are_bounded_and_too_small_a_bound_stops_nothing(
    plan: BatchPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = window_bytes(plan, COLUMNS)

    def bound(workers: int) -> float:
        limits = batch_stream(plan, COLUMNS, workers, here()).context.execution_options.resource_limits
        return float(limits.object_store_memory)

    assert bound(3) == 3 * READ_AHEAD_BYTES
    monkeypatch.setattr(stream, "READ_AHEAD_BYTES", 1)
    assert bound(3) == READ_AHEAD_WINDOWS * whole
    monkeypatch.setattr(stream, "READ_AHEAD_WINDOWS", 0)
    assert bound(3) == 3
    ranks = delivered(plan, 3)
    for number, batch in enumerate(expected(plan)):
        assert [row for rank in ranks for row in rank[number]["row_id"].to_pylist()] == batch


def test_the_size_of_a_window_is_told_by_its_first_row_group(tmp_path: Path) -> None:
    chunks = chunks_of([write_shard(tmp_path / "a", 0, 5000, group=2000)], 2000)
    plan = BatchPlan(chunks, chunks, epochs=1, global_batch_size=100, window_rows=3000, seed=0)
    window = read_window(plan.train_segment(1).window(0), COLUMNS)
    assert window.num_rows == 3000
    assert window_bytes(plan, COLUMNS) == pytest.approx(window.nbytes, rel=0.3)


def turns_while_held_back(plan: BatchPlan, seconds: float, paced: bool) -> int:
    """Turns of the scheduling loop while the reader of a stream that may hold few bytes takes nothing."""
    made = 0

    # Within the function, so that it travels by value.
    class Turns(ExecutionCallback):
        def on_execution_step(self, executor: Any) -> None:  # noqa: ARG002
            nonlocal made
            made += 1

    held = batch_stream(replace(plan, epochs=6), COLUMNS, 1, here())
    held.context.execution_options.resource_limits = ExecutionResources.for_limits(object_store_memory=20_000)
    pacing = held.context.custom_execution_callback_classes if paced else []
    held.context.custom_execution_callback_classes = [*pacing, Turns]
    blocks = iter(held.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
    next(blocks)
    time.sleep(2.0)
    turns = -made
    time.sleep(seconds)
    turns += made
    assert sum(1 for _ in blocks) > 10, "all had been read, and nothing was held back"
    return turns


def test_a_stream_that_is_ahead_of_its_readers_does_not_turn_without_a_pause(plan: BatchPlan) -> None:
    seconds = 1.0
    assert turns_while_held_back(plan, seconds, paced=False) > 50, "Ray Data pauses by itself now"
    assert 0 < turns_while_held_back(plan, seconds, paced=True) <= seconds / PAUSE_SECONDS + 1
