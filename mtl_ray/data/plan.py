"""Which rows make up every global batch of a whole training, as a function of the seed alone.

A run is a sequence of *segments* (the training part in the order of one epoch, or the validation part in file order);
a segment is a sequence of *windows*, the unit that one Ray Data task reads and permutes; a window is a number of
*global batches*. Nothing here depends on the number of workers: they split each global batch between them, so that 1
and N workers take the same steps, and a resumed run goes on at any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Chunk:
    """One Parquet row group: the unit that is read, and the unit that an epoch shuffles first."""

    file: str
    row_group: int
    rows: int


@dataclass(frozen=True)
class Segment:
    """One pass over a part of the snapshot."""

    part: str
    """`train` or `validation`."""
    epoch: int
    """1-based; with the seed it determines the order."""
    chunks: tuple[Chunk, ...]
    global_batch_size: int
    window_rows: int
    """Rows of a window; rounded up to whole global batches."""
    seed: int | None
    """Order of the rows; None keeps the file order."""

    @cached_property
    def rows(self) -> int:
        """Rows of the part, padding not counted."""
        return sum(chunk.rows for chunk in self.chunks)

    @property
    def batches(self) -> int:
        """Global batches of the segment; the last one is filled up with padding rows."""
        return -(-self.rows // self.global_batch_size)

    @property
    def batches_per_window(self) -> int:
        """Global batches that one task reads."""
        return max(1, -(-self.window_rows // self.global_batch_size))

    @property
    def windows(self) -> int:
        """Number of windows."""
        return -(-self.batches // self.batches_per_window)

    @cached_property
    def _order(self) -> Rows:
        if self.seed is None:
            return np.arange(len(self.chunks))
        return np.random.default_rng([self.seed, self.epoch]).permutation(len(self.chunks))

    @cached_property
    def _starts(self) -> Rows:
        """Rows before each chunk in reading order, and at last all of them."""
        lengths = np.array([chunk.rows for chunk in self.chunks], dtype=np.int64)
        return np.concatenate([[0], np.cumsum(lengths[self._order])])

    def window(self, index: int) -> Window:
        """The rows of window `index`, 0-based."""
        size = self.batches_per_window * self.global_batch_size
        begin, end = index * size, min((index + 1) * size, self.rows)
        first, last = np.searchsorted(self._starts, [begin, end], side="right")
        reads = []
        for position in range(first - 1, min(last, len(self.chunks))):
            start, stop = (int(row) for row in self._starts[position : position + 2])
            low, high = max(begin, start), min(end, stop)
            if low < high:
                reads.append(Read(self.chunks[self._order[position]], low - start, high - start))
        rows = end - begin
        seeds = None if self.seed is None else (self.seed, self.epoch, index + 1)
        batches = -(-rows // self.global_batch_size)
        return Window(tuple(reads), seeds, batches * self.global_batch_size - rows)


@dataclass(frozen=True)
class Read:
    """Rows [begin, end) of a chunk."""

    chunk: Chunk
    begin: int
    end: int


@dataclass(frozen=True)
class Window:
    """What one task reads: the rows in reading order, how they are permuted, and how many padding rows follow."""

    reads: tuple[Read, ...]
    seeds: tuple[int, int, int] | None
    """Of the permutation; None keeps the rows in reading order."""
    padding: int

    @property
    def rows(self) -> int:
        """Number of rows, padding not counted."""
        return sum(read.end - read.begin for read in self.reads)

    @property
    def permutation(self) -> Rows | None:
        """Which row of the reading order stands at each place; drawn here, because it is far larger than the rest."""
        return None if self.seeds is None else np.random.default_rng(self.seeds).permutation(self.rows)


@dataclass(frozen=True)
class Position:
    """How far a training has come."""

    epoch: int = 1
    """The epoch that is being trained, 1-based."""
    batch: int = 0
    """Global batches of that epoch that are done."""


@dataclass(frozen=True)
class BatchPlan:
    """Every global batch from `start` to the end of the training."""

    train: tuple[Chunk, ...]
    validation: tuple[Chunk, ...]
    epochs: int
    global_batch_size: int
    window_rows: int
    seed: int
    start: Position = Position()

    def train_segment(self, epoch: int) -> Segment:
        """The training part in the order of `epoch`."""
        return Segment("train", epoch, self.train, self.global_batch_size, self.window_rows, self.seed)

    def validation_segment(self, epoch: int) -> Segment:
        """The validation part, in file order."""
        return Segment("validation", epoch, self.validation, self.global_batch_size, self.window_rows, None)

    @property
    def batches_per_epoch(self) -> int:
        """Steps of one epoch."""
        return self.train_segment(1).batches

    @property
    def total_batches(self) -> int:
        """Steps of the whole training, those before `start` included."""
        return self.batches_per_epoch * self.epochs

    @cached_property
    def items(self) -> tuple[tuple[Segment, int, int], ...]:
        """What the stream delivers, in order: (segment, window, global batches of the window to leave out)."""
        items: list[tuple[Segment, int, int]] = []
        for epoch in range(self.start.epoch, self.epochs + 1):
            segment = self.train_segment(epoch)
            done = self.start.batch if epoch == self.start.epoch else 0
            first = done // segment.batches_per_window
            for window in range(first, segment.windows):
                skipped = done - first * segment.batches_per_window if window == first else 0
                items.append((segment, window, skipped))
            validation = self.validation_segment(epoch)
            items.extend((validation, window, 0) for window in range(validation.windows))
        return tuple(items)


def chunks_of(files: Sequence[tuple[str, int]], row_group_rows: int) -> tuple[Chunk, ...]:
    """The row groups of files given as (path, rows), each file in groups of `row_group_rows` and a shorter last one."""
    chunks = []
    for path, rows in files:
        for group, begin in enumerate(range(0, rows, row_group_rows)):
            chunks.append(Chunk(path, group, min(row_group_rows, rows - begin)))
    return tuple(chunks)
