"""A training with sharded tables on real workers: its own validation is that of the whole tables in the checkpoint."""

from __future__ import annotations

from typing import Any

import pytest

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import parse_config
from mtl_ray.evaluation.evaluate import evaluate
from mtl_ray.tracking import read_metrics
from mtl_ray.training.launch import train

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_sharded_tables_train_validate_and_are_served_whole(shop: Any) -> None:
    training = {**shop.config["training"], "placement": "sharded", "sharding": "table_wise", "epochs": 1}
    said: list[str] = []
    shown: list[dict[str, Any]] = []
    outcome = train(parse_config({**shop.config, "training": training}), said.append, shown.append)
    (start,) = [record for record in shown if record["kind"] == "start"]
    assert start["embedding_optimizer"] == "rowwise_adagrad, sharded"
    assert "whole on worker 0: " in start["sharding"]
    assert "whole on worker 1: " in start["sharding"]
    assert "embedding tables are sharded over 2 workers; training.clip_norm is of all other parameters" in said
    weights = load_checkpoint(outcome.run.checkpoint("best")).weights
    (table,) = [value for name, value in weights.items() if name.endswith("embedding.weight")]
    assert len(table) == start["embedding_rows"]
    assert sum(value.numel() for value in weights.values()) >= start["parameters"]
    (epoch,) = [record for record in read_metrics(outcome.run.path / "metrics.jsonl") if record["kind"] == "epoch"]
    result = evaluate(outcome.run.path, "validation", "best", lambda _: None)
    for task in result.tasks:
        for name in ("log_loss", "roc_auc", "rmse"):
            if f"validation/{task.task}/{name}" in epoch and name in task.metrics:
                assert task.metrics[name].value == pytest.approx(epoch[f"validation/{task.task}/{name}"], abs=1e-5)
    assert epoch["validation/click/roc_auc"] > 0.5
