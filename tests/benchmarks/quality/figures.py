"""From a side's predictions to the figures that count, for ours and for peers alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtl_ray.config import Config
from mtl_ray.data.snapshot import Snapshot
from mtl_ray.data.spine import EVENT_TIMESTAMP
from mtl_ray.data.stream import batch_columns
from mtl_ray.data.tensors import to_batch
from mtl_ray.evaluation.results import EvaluationResult
from mtl_ray.evaluation.summarise import summarise
from mtl_ray.evaluation.truth import read_truth, with_truth

PARTS = ("validation", "test")
RANKING = ("roc_auc", "gauc")
KEPT = (*RANKING, "log_loss", "r2", "r2_log1p", "rmse", "rmse_log1p", "accuracy")


def read_part(snapshot: Snapshot, part: str, group_by: str | None) -> pa.Table:
    """All rows of `part` with the columns of a batch and those that predictions carry on."""
    columns = list(dict.fromkeys([*batch_columns(snapshot.schema), *carried_columns(snapshot, group_by)]))
    return pa.concat_tables([pq.read_table(path, columns=columns) for path, _ in snapshot.files(part)])


def carried_columns(snapshot: Snapshot, group_by: str | None) -> list[str]:
    """What a predictions table tells of its rows."""
    return list(
        dict.fromkeys(["row_id", *snapshot.manifest.join_keys, EVENT_TIMESTAMP, *([group_by] if group_by else [])])
    )


def predictions_of_peer(
    snapshot: Snapshot, part: str, group_by: str | None, predicted: Mapping[str, np.ndarray]
) -> pa.Table:
    """A predictions table, as `mtl_ray.evaluation.predict` makes it, from values in label units `[rows]` a task."""
    table = read_part(snapshot, part, group_by)
    batch = to_batch(table, snapshot.schema)
    columns: dict[str, Any] = {name: table.column(name) for name in carried_columns(snapshot, group_by)}
    for index, task in enumerate(snapshot.schema.tasks):
        if task in predicted:
            columns[f"{task}__label"] = pa.array(np.ascontiguousarray(batch.labels[:, index].numpy()))
            columns[f"{task}__observed"] = pa.array(np.ascontiguousarray(batch.observed[:, index].numpy()))
            columns[f"{task}__prediction"] = pa.array(predicted[task].astype(np.float32))
    return pa.table(columns)


def predictions_file(kept: str, part: str) -> Path:
    """Where a training leaves its predictions of `part`."""
    return Path(f"{kept}-{part}.parquet")


def evaluated(
    config: Config, snapshot: Snapshot, predictions: Callable[[str], pa.Table], keep: str | None = None
) -> dict[str, Any]:
    """Part -> task -> metric -> value and interval; validation, on which choices are made, without intervals. Leaves
    the predictions in the files that begin with `keep`."""
    figures = {}
    for part in PARTS:
        table = predictions(part)
        if keep is not None:
            pq.write_table(table, predictions_file(keep, part))
        if config.evaluation.truth is not None:
            truth = read_truth(config.evaluation.truth, snapshot.manifest.join_keys, list(config.tasks))
            table = with_truth(table, truth)
        known = {name: task for name, task in config.tasks.items() if f"{name}__prediction" in table.column_names}
        result = summarise(
            table,
            known,
            group_by=config.evaluation.group_by,
            train_statistics=snapshot.manifest.label_statistics,
            replicates=config.evaluation.replicates if part == "test" else 0,
            confidence=config.evaluation.confidence,
            split=part,
        )
        figures[part] = compact(result)
    return figures


def compact(result: EvaluationResult) -> dict[str, Any]:
    """Task -> its type, rows and the metrics that are kept."""
    return {
        task.task: {
            "type": task.type,
            "rows": task.rows,
            **{
                name: {"value": metric.value, "low": metric.low, "high": metric.high}
                for name, metric in task.metrics.items()
                if name in KEPT
            },
            **({} if task.share_of_attainable is None else {"share_of_attainable": task.share_of_attainable}),
        }
        for task in result.tasks
    }


def mean_over_tasks(tasks: Mapping[str, Any], metric: str) -> float:
    """The mean of `metric` over the binary tasks; NaN where one of them does not define it."""
    values = [task[metric]["value"] for task in tasks.values() if task["type"] == "binary"]
    return fmean(math.nan if value is None else value for value in values) if values else math.nan


def choice_score(figures: Mapping[str, Any]) -> float:
    """What candidates are chosen by: the mean ROC-AUC over the binary tasks of the validation part.

    Not GAUC, which is left to noise where few users have a positive: from seed to seed of one model its mean moves by
    0.01 on KuaiRand's validation day, seven times as much as that of AUC.
    """
    return mean_over_tasks(figures["validation"], "roc_auc")
