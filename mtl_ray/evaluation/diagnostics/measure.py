"""All diagnostics of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import torch

from mtl_ray.batch import Batch
from mtl_ray.data.plan import Segment, chunks_of
from mtl_ray.data.snapshot import Snapshot
from mtl_ray.data.stream import batch_columns
from mtl_ray.data.tensors import to_batch
from mtl_ray.data.windows import PADDING_ROW_ID, read_window
from mtl_ray.evaluation.diagnostics.gates import gate_use
from mtl_ray.evaluation.diagnostics.gradients import gradient_cosines
from mtl_ray.evaluation.diagnostics.result import Diagnostics
from mtl_ray.evaluation.diagnostics.size import model_size
from mtl_ray.predictor import Predictor

GATE_ROWS = 16_384
"""Rows that the gates are looked at in, at most."""

BATCHES = 8
"""Global batches of the training part behind the cosines, at most."""


def diagnose(predictor: Predictor, snapshot: Snapshot, part: str) -> Diagnostics:
    """Gates over rows of `part`, cosines over batches of the training part, and size, in this process.

    The rows are the beginning of a shuffled epoch, the same for the same seed.
    """
    config = predictor.checkpoint.config
    size = config.training.global_batch_size
    table = _rows(predictor, snapshot, part, GATE_ROWS)
    table = table.filter(pc.not_equal(table["row_id"], PADDING_ROW_ID))
    looked_at = _batch(predictor, snapshot, table)
    return Diagnostics(
        checkpoint=predictor.checkpoint.path.name,
        split=part,
        gate_rows=len(looked_at),
        gates=gate_use(predictor.model, looked_at),
        batch_rows=size,
        cosines=gradient_cosines(predictor.model, predictor.tasks, _batches(predictor, snapshot, size)),
        size=model_size(predictor.model, looked_at),
    )


def _batches(predictor: Predictor, snapshot: Snapshot, size: int) -> Iterator[Batch]:
    table = _rows(predictor, snapshot, "train", BATCHES * size)
    for begin in range(0, table.num_rows, size):
        yield _batch(predictor, snapshot, table.slice(begin, size).combine_chunks())


def _rows(predictor: Predictor, snapshot: Snapshot, part: str, rows: int) -> pa.Table:
    """The first `rows` rows of the part in a shuffled order; where it has fewer, all of them and padding."""
    chunks = chunks_of(snapshot.files(part), snapshot.manifest.row_group_rows)
    size = min(rows, predictor.checkpoint.config.training.global_batch_size)
    segment = Segment(part, 1, chunks, size, rows, predictor.checkpoint.config.seed)
    return read_window(segment.window(0), batch_columns(predictor.checkpoint.context.batch_schema))


def _batch(predictor: Predictor, snapshot: Snapshot, table: pa.Table) -> Batch:
    dtype = torch.float64 if predictor.checkpoint.config.training.precision == "fp64" else None
    batch = to_batch(table, predictor.checkpoint.context.batch_schema, snapshot.schema)
    return batch.to(predictor.device, dtype)
