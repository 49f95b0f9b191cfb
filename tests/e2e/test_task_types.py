"""Every task type in one run, with columns that tasks read beside their labels: built, trained, evaluated, reported."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import Config, parse_config
from mtl_ray.config.tree import EarlyStoppingConfig
from mtl_ray.data.snapshot import Snapshot, build_training_set
from mtl_ray.data.tensors import to_batch
from mtl_ray.errors import ConfigError, DataError
from mtl_ray.evaluation.evaluate import evaluate
from mtl_ray.evaluation.table import results_table
from mtl_ray.predictor import Predictor
from mtl_ray.report.page import write_report
from mtl_ray.tasks.size_grid import EDGES
from mtl_ray.training.launch import TrainingOutcome, check_trainable, train
from tests.tiny_shop import apply_repo, definitions, write_sources, write_spine

TASKS: dict[str, Any] = {
    "click": {"type": "binary", "loss": {"name": "focal", "gamma": 1.0}, "sample_weight": "importance"},
    "next": {
        **{"type": "next_item", "label": "click", "dim": 4},
        **{"user": ["user_id", "age", "city", "recent"], "item": ["item_id", "price"]},
    },
    "rating": {"type": "ordinal", "classes": [1, 2, 3]},
    "watched": {"type": "watch_time", "label": "spend", "duration": "price", "groups": 4},
    "worth": {"type": "value", "label": "spend", "observed_when": "click"},
    "units": {"type": "regression", "label": "spend", "loss": "poisson", "offset": "log_stock"},
    "high": {"type": "regression", "label": "spend", "loss": {"name": "quantile", "level": 0.9}},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    root = tmp_path_factory.mktemp("types")
    write_sources(root / "data")
    write_spine(root / "spine")
    file = root / "spine" / "part-0.parquet"
    spine = pq.read_table(file)
    log_stock = pa.array(np.linspace(-1.0, 1.0, spine.num_rows))
    pq.write_table(spine.append_column("log_stock", log_stock), file)
    apply_repo(root / "repo", definitions(root / "data"))
    return parse_config(
        {
            "name": "types",
            "storage": str(root / "runs"),
            "features": {
                "repo": str(root / "repo"),
                "service": "tiny_v1",
                "keys": ["user_id", "item_id"],
                "context": {"hour": "categorical"},
            },
            "training_set": {"spine": str(root / "spine"), "split": {"validation": 0.1, "test": 0.2}},
            "tasks": TASKS,
            "model": {"name": "shared_bottom", "bottom": [16], "tower": [8], "encoder": {"embedding_dim": 4}},
            "training": {
                "epochs": 2,
                "global_batch_size": 100,
                "early_stopping": {"metric": "validation/rating/quadratic_kappa"},
            },
            "evaluation": {"replicates": 20},
        }
    )


@pytest.fixture(scope="module")
def snapshot(config: Config) -> Snapshot:
    return build_training_set(config.storage, config.features, config.training_set, config.tasks, None)


@pytest.fixture(scope="module")
def trained(config: Config, snapshot: Snapshot, ray_cluster: None) -> TrainingOutcome:  # noqa: ARG001 - built before
    return train(config, lambda _: None, lambda _: None)


def part(snapshot: Snapshot, name: str) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path, _ in snapshot.files(name))


def test_a_training_set_holds_what_tasks_read(snapshot: Snapshot) -> None:
    assert snapshot.schema.task_inputs == ("importance", "price", "log_stock")
    batch = to_batch(part(snapshot, "train"), snapshot.schema)
    row = batch.row_id.numpy()
    np.testing.assert_array_equal(batch.task_inputs["importance"], 1.0 + row % 2)
    np.testing.assert_allclose(batch.task_inputs["price"], 1.5 * (row * 7 % 25), rtol=1e-6)
    np.testing.assert_allclose(batch.task_inputs["log_stock"], np.linspace(-1, 1, 1000)[row], rtol=1e-6, atol=1e-7)


def test_label_statistics_are_those_of_the_training_rows(snapshot: Snapshot) -> None:
    row = np.sort(to_batch(part(snapshot, "train"), snapshot.schema).row_id.numpy())
    spend, price = row % 11, (1.5 * (row * 7 % 25)).astype(np.float32)
    found = snapshot.manifest.label_statistics
    groups = found["watched"].duration_groups
    assert groups is not None
    assert set(groups.edges) <= set(EDGES.astype(np.float64))
    group = np.searchsorted(groups.edges, price, side="right")
    sizes = np.bincount(group)
    assert sizes.min() > 0.8 * len(row) / 4
    for number, quantiles in enumerate(groups.quantiles[:-1]):
        expected = np.quantile(spend[group == number].astype(np.float64), np.linspace(0, 1, 201))
        np.testing.assert_array_equal(quantiles, expected)
    assert found["rating"].class_counts == tuple(np.bincount(row[row % 5 != 0] % 3))
    assert found["worth"].positive == int(((row % 3 == 0) & (spend > 0)).sum())
    stock = np.exp(np.linspace(-1, 1, 1000))[row].mean()
    assert found["units"].mean_input == pytest.approx(stock, rel=0.006)
    assert found["high"].quantiles == tuple(np.quantile(spend.astype(np.float64), np.linspace(0, 1, 101)))


def test_a_run_is_trained_evaluated_and_reported(trained: TrainingOutcome) -> None:
    result = evaluate(trained.run.path, "test", "best", lambda _: None)
    by_task = {task.task: task for task in result.tasks}
    assert {name: task.type for name, task in by_task.items()} == {name: task["type"] for name, task in TASKS.items()}
    for name, metric in (
        ("next", "roc_auc"),
        ("rating", "quadratic_kappa"),
        ("watched", "rmse_log1p"),
        ("worth", "normalized_gini"),
        ("high", "pinball"),
    ):
        value = by_task[name].metrics[metric]
        assert value.value is not None
        assert value.baseline is not None
        assert value.low is not None
    assert by_task["next"].metrics.keys() == {"roc_auc", "pr_auc"}
    assert by_task["next"].curves.keys() == {"roc"}
    assert by_task["rating"].curves.keys() == {"confusion"}
    assert by_task["watched"].curves.keys() == {"predicted_vs_observed"}
    console = Console(file=io.StringIO(), width=80)
    console.print(results_table(result))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(words in shown for words in ("quadratic_kappa", "normalized_gini", "rmse_log1p"))
    page = write_report(trained.run.path).read_text(encoding="utf-8")
    assert "Watch time task" in page
    assert "Next item task" in page
    assert "user_id, age, city, recent" in page
    assert "Quadratic kappa" in page
    assert "focal, gamma 1" in page


def test_two_towers_that_do_not_fit_are_refused_before_workers_start(config: Config, snapshot: Snapshot) -> None:
    check_trainable(config, snapshot)
    for fields, message in (
        ({"user": ("cities",)}, r"did you mean city\?"),
        ({"item": ("price", "item_id")}, "write item_id first"),
    ):
        tasks = {**config.tasks, "next": config.tasks["next"].model_copy(update=fields)}
        with pytest.raises(ConfigError, match=message):
            check_trainable(config.model_copy(update={"tasks": tasks}), snapshot)


@pytest.mark.parametrize(("rate", "metric"), [(0.0, "loss"), (0.0, "roc_auc"), (1.0, "roc_auc")])
def test_stopping_by_what_validation_cannot_say_is_refused(
    config: Config, snapshot: Snapshot, rate: float, metric: str
) -> None:
    stopping = EarlyStoppingConfig(metric=f"validation/next/{metric}")
    training = config.training.model_copy(update={"early_stopping": stopping})
    wanted = config.model_copy(update={"training": training})
    check_trainable(wanted, snapshot)
    rates = snapshot.manifest.label_rates
    of_next = rates["validation"]["next"].model_copy(update={"mean": rate})
    changed = {**rates, "validation": {**rates["validation"], "next": of_next}}
    manifest = snapshot.manifest.model_copy(update={"label_rates": changed})
    with pytest.raises(DataError, match="metric is not defined on the validation part"):
        check_trainable(wanted, replace(snapshot, manifest=manifest))


def test_predictions_need_what_they_depend_on(trained: TrainingOutcome, snapshot: Snapshot) -> None:
    predictor = Predictor(load_checkpoint(trained.run.checkpoint("best")))
    batch = to_batch(part(snapshot, "test"), snapshot.schema)
    whole = predictor.predict_arrays(batch)
    assert all(np.isfinite(values).all() for values in whole.values())
    assert whole["rating"].shape == (len(batch), 3)
    serving = {name: batch.task_inputs[name] for name in ("price", "log_stock")}
    for name, values in predictor.predict_arrays(replace(batch, task_inputs=serving)).items():
        np.testing.assert_array_equal(values, whole[name])
    with pytest.raises(DataError) as caught:
        predictor.predict(replace(batch, task_inputs={"price": batch.task_inputs["price"]}))
    assert (caught.value.where, caught.value.fix) == ("task units, column log_stock", "give log_stock with the rows")
