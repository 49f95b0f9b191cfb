"""The whole main job on a small shop: real Feast, real Ray, real DDP workers, real files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import Config, parse_config
from mtl_ray.data.snapshot import build_training_set, open_snapshot
from mtl_ray.data.tensors import to_batch
from mtl_ray.errors import CheckpointError, DataError, DivergedError, SnapshotError
from mtl_ray.evaluation.evaluate import evaluate
from mtl_ray.evaluation.fit_fusion import tuned_on
from mtl_ray.evaluation.results import EvaluationResult
from mtl_ray.predictor import Predictor, build_tasks
from mtl_ray.report.page import write_report
from mtl_ray.report.step_profile import read_profile
from mtl_ray.run_folder import RunFolder
from mtl_ray.tracking import read_metrics
from mtl_ray.training.launch import TrainingOutcome, train

pytestmark = pytest.mark.usefixtures("ray_cluster")


SCORE = {
    "fusion": {
        "weights": {"click": 1.0, "order_value": 1.0},
        "tune": {"metric": {"validation/click/gauc": 1.0, "validation/purchase/roc_auc": 0.5}, "trials": 20},
    }
}


def configured(shop: Any, **training: Any) -> Config:
    return parse_config({**shop.config, "training": {**shop.config["training"], **training}})


def fit(config: Config) -> TrainingOutcome:
    return train(config, lambda _: None, lambda _: None)


def weights(outcome: TrainingOutcome, which: str = "last") -> dict[str, torch.Tensor]:
    return load_checkpoint(outcome.run.checkpoint(which)).weights


@pytest.fixture(scope="module")
def trained(shop: Any) -> TrainingOutcome:
    """Two workers, float64, a profile and a ranking score."""
    training = {**shop.config["training"], "precision": "fp64", "profile": True}
    return fit(parse_config({**shop.config, "training": training, **SCORE}))


@pytest.fixture(scope="module")
def evaluated(trained: TrainingOutcome) -> EvaluationResult:
    return evaluate(trained.run.path, "test", "best", lambda _: None)


def test_two_workers_equal_one(shop: Any, trained: TrainingOutcome) -> None:
    alone = weights(fit(configured(shop, precision="fp64", workers=1)))
    together = weights(trained)
    assert alone.keys() == together.keys()
    for name, tensor in alone.items():
        assert tensor.dtype == torch.float64
        torch.testing.assert_close(together[name], tensor, rtol=0, atol=1e-5, msg=name)


def test_a_run_leaves_everything(trained: TrainingOutcome) -> None:
    run = trained.run
    for name in ("config.yaml", "environment.json", "training_set.json", "metrics.jsonl", "summary.json"):
        assert (run.path / name).stat().st_size > 0
    assert list((run.path / "tensorboard").glob("events.*"))
    assert run.config() == configured_from(run.path)
    assert run.checkpoint("last").is_dir()
    assert run.checkpoint("best").is_dir()
    newest = max(run.path.parent.glob("small-*"), key=lambda path: path.stat().st_mtime)
    assert (run.path.parent / "latest").readlink() == Path(newest.name)
    records = read_metrics(run.path / "metrics.jsonl")
    epochs = [record for record in records if record["kind"] == "epoch"]
    assert [record["epoch"] for record in epochs] == [1, 2]
    assert epochs[-1]["step"] == trained.summary["steps"]
    assert epochs[1]["validation/click/loss"] < 0.7
    assert {"validation/click/roc_auc", "validation/click/gauc", "validation/order_value/rmse"} <= epochs[0].keys()
    steps = [record for record in records if record["kind"] == "step"]
    assert all(record["samples_per_second"] > 0 for record in steps)


@pytest.mark.usefixtures("evaluated")
def test_a_profile_says_where_a_step_goes(trained: TrainingOutcome) -> None:
    found = read_profile(trained.run.path)
    assert found is not None
    assert found.workers == 2
    assert {"input wait", "forward", "backward"} <= set(found.shares)
    assert found.communication_milliseconds > 0
    assert 'id="profile"' in write_report(trained.run.path).read_text()


def configured_from(path: Path) -> Config:
    environment = json.loads((path / "environment.json").read_text())
    assert environment["packages"]["ray"]
    import yaml

    return parse_config(yaml.safe_load((path / "config.yaml").read_text()))


def test_the_loss_falls(trained: TrainingOutcome) -> None:
    records = [record for record in read_metrics(trained.run.path / "metrics.jsonl") if record["kind"] == "epoch"]
    assert records[-1]["train/loss"] < records[0]["train/loss"]
    assert trained.summary["best"] == min(record["validation/loss"] for record in records)


def test_evaluation_is_exact(trained: TrainingOutcome, evaluated: EvaluationResult) -> None:
    snapshot = open_snapshot(Path(trained.summary["training_set"]))
    tables = [pq.read_table(path) for path, _ in snapshot.files("test")]
    rows = sum(table.num_rows for table in tables)
    assert evaluated.rows == rows
    # Every row once, whoever predicted it, with what one process predicts from the same rows.
    predictions = pq.read_table(trained.run.predictions("test"))
    expected = np.sort(np.concatenate([table["row_id"].to_numpy() for table in tables]))
    assert np.array_equal(predictions["row_id"].to_numpy(), expected)
    predictor = Predictor.load(trained.run.checkpoint("best"))
    for table in tables:
        own = predictor.predict_arrays(to_batch(table, snapshot.schema))
        position = np.searchsorted(expected, table["row_id"].to_numpy())
        got = predictions["click__prediction"].to_numpy()[position]
        np.testing.assert_allclose(got, own["click"], rtol=0, atol=1e-6)
    click = next(task for task in evaluated.tasks if task.task == "click")
    value = click.metrics["roc_auc"]
    auc = roc_auc_score(predictions["click__label"].to_numpy(), predictions["click__prediction"].to_numpy())
    assert value.value == pytest.approx(auc, abs=1e-6)
    assert value.low < value.value < value.high
    assert value.baseline == pytest.approx(0.5)
    assert click.attainable is not None
    assert 0 < click.share_of_attainable < 1.2


def test_report(trained: TrainingOutcome, evaluated: EvaluationResult) -> None:
    html = write_report(trained.run.path).read_text()
    for task in evaluated.tasks:
        assert task.task in html
    assert f"{evaluated.tasks[0].metrics['roc_auc'].value:.3f}"[:5] in html
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']https?:", html)


def test_the_ranking_score_is_tuned_stored_and_evaluated(trained: TrainingOutcome, evaluated: EvaluationResult) -> None:
    fusion = load_checkpoint(trained.run.checkpoint("best")).fusion
    assert fusion is not None
    assert load_checkpoint(trained.run.checkpoint("last")).fusion in (None, fusion)
    assert trained.summary["score"] == fusion.model_dump()
    assert fusion.value is not None
    assert fusion.value_of_declared is not None
    assert fusion.value >= fusion.value_of_declared
    validation = pq.read_table(trained.run.predictions("validation"))
    assert tuned_on(trained.run.config(), validation) == fusion
    predictions = pq.read_table(trained.run.predictions("test"))
    click, value = (predictions[f"{task}__prediction"].to_numpy().astype(np.float64) for task in fusion.weights)
    expected = np.log(np.maximum(click, 1e-12)) * fusion.weights["click"]
    expected += np.log(np.maximum(value, 1e-12)) * fusion.weights["order_value"]
    np.testing.assert_allclose(predictions["score"].to_numpy(), expected, rtol=1e-9)
    assert evaluated.score is not None
    assert set(evaluated.score.metrics) == {"click", "purchase"}
    auc = evaluated.score.metrics["click"]["roc_auc"]
    assert auc.value == pytest.approx(roc_auc_score(predictions["click__label"].to_numpy(), expected), abs=1e-9)
    assert auc.baseline == pytest.approx(roc_auc_score(predictions["click__label"].to_numpy(), click), abs=1e-9)


def test_the_training_set_is_found_again(shop: Any, trained: TrainingOutcome) -> None:
    config = configured(shop)
    again = build_training_set(
        config.storage,
        config.features,
        config.training_set,
        config.tasks,
        config.evaluation.group_by,
        lambda _: None,
    )
    assert again.found
    assert str(again.path) == trained.summary["training_set"]


def test_training_moved_every_weight_that_the_rows_can_reach(trained: TrainingOutcome) -> None:
    """Guards the tests of equal models: they would also pass if training changed nothing."""
    checkpoint = load_checkpoint(trained.run.checkpoint("last"))
    torch.manual_seed(checkpoint.config.seed)
    model = checkpoint.config.model.build(checkpoint.context.batch_schema, build_tasks(checkpoint)).double()
    for name, tensor in model.state_dict().items():
        assert not torch.equal(tensor, checkpoint.weights[name]), name


def test_a_damaged_checkpoint_is_named_before_ray_predicts(trained: TrainingOutcome, tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(trained.run.path, copied, ignore=shutil.ignore_patterns("evaluation"))
    file = RunFolder(copied).checkpoint("best") / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="damaged") as caught:
        evaluate(copied, "test", "best", lambda _: None)
    assert str(file) in str(caught.value)
    assert not (copied / "evaluation" / "test.json").exists()


def test_a_damaged_test_shard_is_named_before_ray_predicts(trained: TrainingOutcome, tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(trained.run.path, copied, ignore=shutil.ignore_patterns("evaluation"))
    shutil.copytree(trained.summary["training_set"], tmp_path / "set")
    summary = {**trained.summary, "training_set": str(tmp_path / "set")}
    (copied / "summary.json").write_text(json.dumps(summary))
    file = next((tmp_path / "set" / "test").iterdir())
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(SnapshotError, match="damaged") as caught:
        evaluate(copied, "test", "best", lambda _: None)
    assert str(file) in str(caught.value)


def test_training_stops_early_and_keeps_the_best(shop: Any) -> None:
    stopping = {"metric": "validation/click/roc_auc", "patience": 1, "min_delta": 1.0}
    outcome = fit(configured(shop, epochs=5, workers=1, early_stopping=stopping))
    assert outcome.summary["epochs"] == 2
    assert outcome.summary["best_epoch"] == 1
    assert outcome.summary["stopped_early"]
    best, last = (load_checkpoint(outcome.run.checkpoint(which)) for which in ("best", "last"))
    assert (best.position.epoch, last.position.epoch) == (2, 3)
    assert outcome.summary["best"] == best.position.best


def test_a_diverged_training_says_so_and_is_not_repeated(shop: Any) -> None:
    starts = []

    def count(record: dict[str, Any]) -> None:
        starts.extend([record] if record["kind"] == "start" else [])

    config = configured(shop, optimizer={"learning_rate": 1e30}, clip_norm=None, log_every=1, max_failures=1)
    with pytest.raises(DivergedError, match="Training diverged: the loss of") as caught:
        train(config, lambda _: None, count)
    assert "learning_rate" in str(caught.value)
    assert len(starts) == 1


def test_an_undefined_early_stopping_metric_is_refused(shop: Any) -> None:
    rare = {"type": "binary", "label": "click", "observed_when": "click"}
    training = {**shop.config["training"], "early_stopping": {"metric": "validation/rare/roc_auc"}}
    config = parse_config({**shop.config, "tasks": {**shop.config["tasks"], "rare": rare}, "training": training})
    with pytest.raises(DataError, match="not defined on the validation part") as caught:
        fit(config)
    assert "all of one class" in str(caught.value)
