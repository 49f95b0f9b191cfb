"""Scores of a next-item task are judged by their order alone."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from mtl_ray.evaluation.summarise import summarise
from mtl_ray.evaluation.table import results_table
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import NextItemTaskConfig

ROWS = 600
CONFIG = NextItemTaskConfig(user=("user_id",), item=("item_id",))


def predictions(share: float = 0.3) -> pa.Table:
    rng = np.random.default_rng(0)
    label = (rng.random(ROWS) < share).astype(np.float32)
    return pa.table(
        {
            "row_id": np.arange(ROWS),
            "user_id": rng.integers(30, size=ROWS),
            "next__label": label,
            "next__observed": rng.random(ROWS) < 0.9,
            "next__prediction": (rng.normal(size=ROWS) + label - 3.0).astype(np.float32),
        }
    )


def test_results_and_their_table() -> None:
    table = predictions()
    statistics = {"next": LabelStatistics(observed=500, mean=0.3)}
    result = summarise(table, {"next": CONFIG}, group_by="user_id", train_statistics=statistics, replicates=20)
    (task,) = result.tasks
    assert task.type == "next_item"
    assert task.metrics.keys() == {"roc_auc", "pr_auc", "gauc"}
    assert task.curves.keys() == {"roc"}
    seen = table["next__observed"].to_numpy()
    label, score = (table[f"next__{name}"].to_numpy()[seen] for name in ("label", "prediction"))
    assert task.metrics["roc_auc"].value == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    assert task.metrics["roc_auc"].baseline == 0.5
    assert task.metrics["gauc"].low is not None
    assert task.base == pytest.approx(label.mean())
    console = Console(file=io.StringIO(), width=80)
    console.print(results_table(result))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "roc_auc" in shown
    assert "gauc" in shown
    assert "pr_auc" not in shown


def test_rows_of_one_label_define_nothing() -> None:
    statistics = {"next": LabelStatistics(observed=0)}
    (task,) = summarise(predictions(0.0), {"next": CONFIG}, train_statistics=statistics, replicates=0).tasks
    assert all(value.value is None for value in task.metrics.values())
    assert task.curves == {}
