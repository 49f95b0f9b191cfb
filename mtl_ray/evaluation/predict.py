"""Predictions of a part of a training set, by several Ray workers, as a Parquet folder."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

from mtl_ray.checkpoint import checkpoint_state
from mtl_ray.cluster import ray_session
from mtl_ray.config import Config
from mtl_ray.data.snapshot import Snapshot
from mtl_ray.data.stream import batch_columns
from mtl_ray.data.tensors import to_batch
from mtl_ray.errors import MtlRayError
from mtl_ray.fusion.config import SCORE_COLUMN
from mtl_ray.predictor import Predictor
from mtl_ray.schema import BatchSchema
from mtl_ray.storage import local_copy


@lru_cache(maxsize=1)
def predictor_of(checkpoint: str, device: str, state: str) -> Predictor:  # noqa: ARG001
    """Loaded once a process and `state` of the checkpoint (see `checkpoint_state`): Ray runs many blocks in the same
    process, and keeps it for the next job, by which time a ranking score may have been added."""
    return Predictor.load(checkpoint, device)


def prediction_table(
    predictor: Predictor, table: pa.Table, carried: list[str], stored: BatchSchema | None = None
) -> pa.Table:
    """Predictions for snapshot rows.

    Args:
        predictor: the model.
        table: rows with the columns of a snapshot.
        carried: columns to copy as they are, `row_id` among them.
        stored: the snapshot's schema, where the model has only some of its tasks.

    Returns:
        The carried columns and, per task, `<task>__label` (float32, 0 where not observed), `<task>__observed` and
        `<task>__prediction` (float32 in label units; a list of C class probabilities for a multiclass task); `score`
        (float64) where the checkpoint has a ranking score.
    """
    schema = predictor.checkpoint.context.batch_schema
    batch = to_batch(table, schema, stored)
    columns: dict[str, Any] = {name: table.column(name) for name in carried}
    labels, observed = batch.labels.numpy(), batch.observed.numpy()
    predicted = predictor.predict_arrays(batch)
    for index, (task, values) in enumerate(predicted.items()):
        columns[f"{task}__label"] = pa.array(np.ascontiguousarray(labels[:, index]))
        columns[f"{task}__observed"] = pa.array(np.ascontiguousarray(observed[:, index]))
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        columns[f"{task}__prediction"] = (
            flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        )
    fusion = predictor.checkpoint.fusion
    if fusion is not None:
        columns[SCORE_COLUMN] = pa.array(fusion.score(predicted))
    return pa.table(columns)


def predict_part(config: Config, snapshot: Snapshot, part: str, checkpoint: str, out: Path) -> pa.Table:
    """Predict every row of `part` once, write `<out>/*.parquet` and return them all, ordered by row_id.

    Ray spreads the blocks over the cluster's CPUs or GPUs. Written aside and moved when complete. Raises
    `MtlRayError` where a row is absent or there twice.

    `checkpoint`: where every process can read it.
    """
    training = config.training
    carried = ["row_id", *snapshot.manifest.join_keys, "event_timestamp"]
    if config.evaluation.group_by is not None and config.evaluation.group_by not in carried:
        carried.append(config.evaluation.group_by)
    stored = snapshot.schema
    columns = list(dict.fromkeys([*batch_columns(stored), *carried]))
    device = "cuda" if training.use_gpu else "cpu"
    state = checkpoint_state(local_copy(checkpoint))

    def predict(block: pa.Table) -> pa.Table:
        return prediction_table(predictor_of(checkpoint, device, state), block, carried, stored)

    with ray_session(training.cpus_per_worker):
        rows = ray.data.read_parquet([path for path, _ in snapshot.files(part)])
        predicted = rows.select_columns(columns).map_batches(
            predict,
            batch_size=config.evaluation.batch_size,
            batch_format="pyarrow",
            num_cpus=training.cpus_per_worker,
            num_gpus=1 if training.use_gpu else None,
        )
        table = pa.concat_tables(list(predicted.iter_batches(batch_size=None, batch_format="pyarrow")))
    table = table.sort_by("row_id")
    check_complete(table, part, snapshot.manifest.rows[part])
    aside = out.with_name(out.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    pq.write_table(table, aside / "part-00000.parquet")
    shutil.rmtree(out, ignore_errors=True)
    aside.rename(out)
    return table


def check_complete(predictions: pa.Table, part: str, rows: int) -> None:
    """Raise `MtlRayError` unless `predictions`, sorted by row_id, has `rows` rows and each row_id once."""
    row_ids = predictions["row_id"].to_numpy()
    repeated = int((np.diff(row_ids) == 0).sum())
    if row_ids.size != rows or repeated:
        raise MtlRayError(
            f"The predictions of {part} are not exact: {row_ids.size} rows for {rows}, {repeated} of them repeated. "
            "This is a fault of mtl-ray or of Ray: evaluate again, and report it if it comes back."
        )
