"""The order of a training depends on seed and epoch alone, and every row comes once an epoch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtl_ray.data.plan import BatchPlan, Chunk, Position, Segment, chunks_of

CHUNKS = chunks_of([("a", 25), ("b", 7), ("c", 10)], row_group_rows=10)
OFFSETS = {("a", 0): 0, ("a", 1): 10, ("a", 2): 20, ("b", 0): 25, ("c", 0): 32}


def rows_of(segment: Segment, window: int) -> list[int]:
    """The row numbers of a window in the order in which they are delivered, -1 for padding."""
    read = segment.window(window)
    rows = [
        OFFSETS[part.chunk.file, part.chunk.row_group] + row
        for part in read.reads
        for row in range(part.begin, part.end)
    ]
    if read.permutation is not None:
        rows = [rows[i] for i in read.permutation]
    return rows + [-1] * read.padding


def all_rows(segment: Segment) -> list[int]:
    return [row for window in range(segment.windows) for row in rows_of(segment, window)]


def test_row_groups_of_files() -> None:
    assert (Chunk("a", 0, 10), Chunk("a", 1, 10), Chunk("a", 2, 5), Chunk("b", 0, 7), Chunk("c", 0, 10)) == CHUNKS


@pytest.mark.parametrize("global_batch_size", [1, 4, 6, 42, 100])
@pytest.mark.parametrize("window_rows", [1, 8, 1000])
def test_every_row_once_an_epoch(global_batch_size: int, window_rows: int) -> None:
    segment = Segment("train", 1, CHUNKS, global_batch_size, window_rows, seed=3)
    rows = all_rows(segment)
    assert sorted(row for row in rows if row >= 0) == list(range(42))
    assert len(rows) == segment.batches * global_batch_size
    padding = len(rows) - 42
    assert padding < global_batch_size
    assert rows.count(-1) == padding
    assert rows[len(rows) - padding :] == [-1] * padding


def test_validation_keeps_the_file_order() -> None:
    assert all_rows(Segment("validation", 2, CHUNKS, 4, 8, seed=None))[:42] == list(range(42))


def test_order_is_a_function_of_seed_and_epoch() -> None:
    segment = Segment("train", 1, CHUNKS, 4, 16, seed=3)
    assert all_rows(segment) == all_rows(replace(segment))
    assert all_rows(segment) != all_rows(replace(segment, epoch=2))
    assert all_rows(segment) != all_rows(replace(segment, seed=4))
    assert all_rows(segment)[:42] != list(range(42))


def test_rows_mix_across_files() -> None:
    chunks = chunks_of([(str(i), 100) for i in range(20)], row_group_rows=50)
    segment = Segment("train", 1, chunks, 100, 400, seed=0)
    files = [read.chunk.file for read in segment.window(0).reads]
    assert files != sorted(files, key=int)
    permutation = segment.window(0).permutation
    assert permutation is not None
    assert np.corrcoef(permutation, np.arange(400))[0, 1] < 0.2


@pytest.mark.parametrize("start", [Position(1, 0), Position(1, 1), Position(1, 5), Position(2, 3), Position(2, 10)])
def test_a_resumed_plan_goes_on_where_it_stood(start: Position) -> None:
    plan = BatchPlan(CHUNKS, CHUNKS[:1], epochs=2, global_batch_size=4, window_rows=8, seed=0)

    def delivered(plan: BatchPlan) -> list[list[int]]:
        batches = []
        for segment, window, skipped in plan.items:
            rows = rows_of(segment, window)
            batches += [rows[i : i + 4] for i in range(0, len(rows), 4)][skipped:]
        return batches

    whole = delivered(plan)
    per_epoch = plan.batches_per_epoch + plan.validation_segment(1).batches
    assert len(whole) == 2 * per_epoch
    done = (start.epoch - 1) * per_epoch + start.batch
    assert delivered(replace(plan, start=start)) == whole[done:]
