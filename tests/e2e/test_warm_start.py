"""Newer rows are appended to a training set, and a training goes on from what an earlier run has learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import torch

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import Config, parse_config
from mtl_ray.data.snapshot import build_training_set
from mtl_ray.errors import CheckpointError
from mtl_ray.training.launch import TrainingOutcome, train

STILL = {"learning_rate": 1e-12, "embedding_learning_rate": 1e-12}
"""So that what it began with is still there at its end."""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


def test_a_training_goes_on_with_newer_rows(shop: Any, tmp_path: Path) -> None:
    rows = ds.dataset(shop.config["training_set"]["spine"]).to_table()
    times = rows["event_timestamp"]
    middle = pc.quantile(times.cast(pa.int64()), 0.7, interpolation="nearest")[0].cast(times.type)
    spine = tmp_path / "spine"
    spine.mkdir()
    pq.write_table(rows.filter(pc.less(times, middle)), spine / "older.parquet")
    first, said = trained(config_of(shop, tmp_path))
    assert not any("beginning with the weights" in each for each in said)

    pq.write_table(rows.filter(pc.greater_equal(times, middle)), spine / "newer.parquet")
    again = config_of(shop, tmp_path, training_set="newest", start_from=first.run.place, optimizer=STILL)
    built = build_training_set(
        again.storage,
        again.features,
        again.training_set,
        again.tasks,
        again.evaluation.group_by,
        since=middle.as_py(),
    )
    second, said = trained(again)
    assert second.summary["training_set"] == built.place != first.summary["training_set"]
    (words,) = [each for each in said if each.startswith("beginning with the weights")]
    assert "drawn anew" not in words
    assert "scaled" not in words, "appended rows are encoded as the older ones"
    before, after = (
        load_checkpoint(outcome.run.checkpoint(which)) for outcome, which in ((first, "best"), (second, "last"))
    )
    assert before.weights.keys() == after.weights.keys()
    for name, weight in before.weights.items():
        if name.endswith("embedding.weight"):
            assert len(after.weights[name]) > len(weight), "no vocabulary has grown"
        else:
            torch.testing.assert_close(after.weights[name], weight, rtol=0, atol=1e-6)


def test_a_run_that_is_not_there(shop: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no run"):
        trained(
            config_of(shop, tmp_path, start_from=str(tmp_path / "none"), spine=shop.config["training_set"]["spine"])
        )


def config_of(shop: Any, folder: Path, spine: str | None = None, **training: Any) -> Config:
    return parse_config(
        {
            **shop.config,
            "storage": str(folder / "runs"),
            "training_set": {**shop.config["training_set"], "spine": spine or str(folder / "spine")},
            "training": {**shop.config["training"], "epochs": 2, **training},
        }
    )


def trained(config: Config) -> tuple[TrainingOutcome, list[str]]:
    said: list[str] = []
    return train(config, said.append, lambda _: None), said
