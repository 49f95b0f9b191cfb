"""A run's metrics: lines on disk, TensorBoard events, and what a killed run leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mtl_ray.errors import DataError, StorageError
from mtl_ray.tracking import MetricsLog, read_metrics

STEP = {"epoch": 1, "step": 20, "rows": 80, "seconds": 3.2, "learning_rate": 1e-3, "train/click/loss": 0.5}
EPOCH = {"epoch": 1, "step": 40, "seconds": 9.0, "train/loss": 0.7, "validation/click/roc_auc": 0.8, "best": True}


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "run") as log:
        log.log_step(STEP)
        # On disk as soon as the call returns: a killed run keeps it.
        assert read_metrics(tmp_path / "run" / "metrics.jsonl") == [{"kind": "step", **STEP}]
        log.log_epoch(EPOCH)
    assert read_metrics(tmp_path / "run" / "metrics.jsonl") == [{"kind": "step", **STEP}, {"kind": "epoch", **EPOCH}]


def test_a_second_log_goes_on_behind_the_first(tmp_path: Path) -> None:
    for step in (20, 40):
        with MetricsLog(tmp_path) as log:
            log.log_step({**STEP, "step": step})
    assert [record["step"] for record in read_metrics(tmp_path / "metrics.jsonl")] == [20, 40]


def test_tensorboard_has_the_numbers_against_the_step(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.log_step(STEP)
        log.log_step({**STEP, "step": 40, "train/click/loss": 0.25})
        log.log_epoch(EPOCH)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        "learning_rate",
        "train/click/loss",
        "train_epoch/loss",
        "validation/click/roc_auc",
    }
    assert [(event.step, event.value) for event in events.Scalars("train/click/loss")] == [(20, 0.5), (40, 0.25)]


def test_numbers_of_numpy_and_torch_and_those_that_json_lacks(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.log_step({"step": 1, "a": np.float32(0.5), "b": torch.tensor(2.0), "c": float("nan"), "d": np.inf})
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "kind": "step",
        "step": 1,
        "a": 0.5,
        "b": 2.0,
        "c": None,
        "d": None,
    }


def test_a_torn_last_line_is_left_out_with_a_warning(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.log_step(STEP)
        log.log_epoch(EPOCH)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.warns(UserWarning, match="torn"):
        assert read_metrics(path) == [{"kind": "step", **STEP}]
    # A run that goes on there writes whole lines again.
    with MetricsLog(tmp_path) as log:
        log.log_epoch(EPOCH)
    assert [record["kind"] for record in read_metrics(path)] == ["step", "epoch"]


def test_damage_before_the_last_line_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "step"\n{"kind": "epoch"}\n')
    with pytest.raises(DataError, match="line 1"):
        read_metrics(path)


def test_an_absent_log_and_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no metrics to read"):
        read_metrics(tmp_path / "metrics.jsonl")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        MetricsLog(tmp_path / "file")
