"""A predictions table becomes an evaluation: values, baselines, attainable quality, curves, document and table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, roc_auc_score

from mtl_ray.errors import DataError, StorageError
from mtl_ray.evaluation.results import EvaluationResult, read_result, write_result
from mtl_ray.evaluation.summarise import summarise
from mtl_ray.evaluation.table import results_table
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, MulticlassTaskConfig, RegressionTaskConfig, TaskConfig

ROWS = 3000
TASKS: dict[str, TaskConfig] = {
    "click": BinaryTaskConfig(threshold=0.4),
    "rating": MulticlassTaskConfig(classes=(1, 2, 3, 4)),
    "order_value": RegressionTaskConfig(transform="log1p"),
}
STATISTICS = {
    "click": LabelStatistics(observed=500, mean=0.3),
    "rating": LabelStatistics(observed=100, class_counts=(10, 20, 30, 40)),
    "order_value": LabelStatistics(observed=100, mean=9.0, transformed_mean=2.0, transformed_std=1.0),
}


def predictions() -> pa.Table:
    rng = np.random.default_rng(0)
    logit = rng.normal(size=ROWS) - 1.0
    truth = 1 / (1 + np.exp(-logit))
    rating = rng.dirichlet(np.ones(4), size=ROWS).astype(np.float32)
    value = rng.lognormal(2.0, 1.0, size=ROWS)
    seen = rng.random(ROWS) < 0.5
    return pa.table(
        {
            "row_id": np.arange(ROWS),
            "user_id": rng.integers(150, size=ROWS),
            "click__label": (rng.random(ROWS) < truth).astype(np.float32),
            "click__observed": np.ones(ROWS, dtype=bool),
            "click__prediction": (1 / (1 + np.exp(-logit - 0.7 * rng.normal(size=ROWS)))).astype(np.float32),
            "click__truth": truth,
            "rating__label": np.where(seen, rng.integers(4, size=ROWS), 0).astype(np.float32),
            "rating__observed": seen,
            "rating__prediction": pa.FixedSizeListArray.from_arrays(pa.array(rating.ravel()), 4),
            "order_value__label": np.where(seen, value, np.nan).astype(np.float32),
            "order_value__observed": seen,
            "order_value__prediction": (value * rng.lognormal(0.0, 0.4, size=ROWS)).astype(np.float32),
        }
    )


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return predictions()


@pytest.fixture(scope="module")
def result(table: pa.Table) -> EvaluationResult:
    return summarise(table, TASKS, group_by="user_id", train_statistics=STATISTICS, run="a_run", split="test")


def column(table: pa.Table, name: str, task: str) -> np.ndarray:
    kept = table.filter(table[f"{task}__observed"])[f"{task}__{name}"]
    return np.array(kept.to_pylist(), dtype=np.float64)


def test_every_metric_of_the_issue_has_value_interval_and_baseline(result: EvaluationResult) -> None:
    names = {task.task: set(task.metrics) for task in result.tasks}
    assert names["click"] == {
        "roc_auc",
        "pr_auc",
        "gauc",
        "log_loss",
        "normalized_entropy",
        "ece",
        "predicted_over_observed",
        "accuracy",
        "precision",
        "recall",
        "f1",
    }
    assert names["rating"] == {"accuracy", "top3_accuracy", "macro_f1", "log_loss"}
    assert names["order_value"] == {f"{error}{scale}" for error in ("rmse", "mae", "r2") for scale in ("", "_log1p")}
    for task in result.tasks:
        for name, metric in task.metrics.items():
            assert metric.value is not None
            assert metric.low is not None
            assert metric.high is not None
            assert metric.low <= metric.value <= metric.high, (task.task, name)
            assert metric.baseline is not None


def test_rows_groups_and_base_rates(result: EvaluationResult, table: pa.Table) -> None:
    assert (result.rows, result.groups, result.group_by) == (ROWS, 150, "user_id")
    assert result.task("click").rows == ROWS
    assert result.task("rating").rows == sum(table["rating__observed"].to_pylist())
    assert result.task("rating").rows_in_split == ROWS
    assert result.task("click").base == pytest.approx(column(table, "label", "click").mean())
    assert result.task("order_value").base == pytest.approx(column(table, "label", "order_value").mean())
    assert result.task("rating").base is None
    assert result.task("click").threshold == 0.4


def test_only_observed_rows_count(result: EvaluationResult, table: pa.Table) -> None:
    label, prediction = column(table, "label", "order_value"), column(table, "prediction", "order_value")
    rmse = result.task("order_value").metrics["rmse"].value
    assert rmse == pytest.approx(np.sqrt(((label - prediction) ** 2).mean()))


def test_baselines_have_their_closed_forms(result: EvaluationResult, table: pa.Table) -> None:
    click = result.task("click").metrics
    rate = column(table, "label", "click").mean()
    assert click["log_loss"].baseline == pytest.approx(-(rate * np.log(0.3) + (1 - rate) * np.log(0.7)))
    assert click["roc_auc"].baseline == 0.5
    assert click["gauc"].baseline == 0.5
    assert click["pr_auc"].baseline == pytest.approx(rate)
    assert click["ece"].baseline == pytest.approx(abs(rate - 0.3))
    assert click["predicted_over_observed"].baseline == pytest.approx(0.3 / rate)
    # 0.3 is below the threshold 0.4: nothing is predicted positive.
    assert click["accuracy"].baseline == pytest.approx(1 - rate)
    assert click["recall"].baseline == 0.0

    rating = column(table, "label", "rating").astype(int)
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    assert result.task("rating").metrics["log_loss"].baseline == pytest.approx(-np.log(shares[rating]).mean())
    assert result.task("rating").metrics["accuracy"].baseline == pytest.approx((rating == 3).mean())
    assert result.task("rating").metrics["top3_accuracy"].baseline == pytest.approx((rating > 0).mean())

    value = column(table, "label", "order_value")
    order = result.task("order_value").metrics
    assert order["rmse"].baseline == pytest.approx(np.sqrt(((value - 9.0) ** 2).mean()))
    assert order["mae_log1p"].baseline == pytest.approx(np.abs(np.log1p(value) - 2.0).mean())


def test_attainable_quality_is_that_of_the_true_probabilities(result: EvaluationResult, table: pa.Table) -> None:
    click = result.task("click")
    best = roc_auc_score(table["click__label"], table["click__truth"])
    reached = roc_auc_score(table["click__label"], table["click__prediction"])
    assert click.attainable is not None
    assert click.attainable["roc_auc"] == pytest.approx(best)
    assert click.share_of_attainable == pytest.approx((reached - 0.5) / (best - 0.5))
    assert 0.5 < click.share_of_attainable < 1.0
    assert result.task("rating").attainable is None


def test_curves(result: EvaluationResult, table: pa.Table) -> None:
    roc = result.task("click").curves["roc"]
    assert (roc["fpr"][0], roc["tpr"][0], roc["fpr"][-1], roc["tpr"][-1]) == (0.0, 0.0, 1.0, 1.0)
    assert 100 < len(roc["fpr"]) <= 200
    area = np.trapezoid(roc["tpr"], roc["fpr"])
    assert area == pytest.approx(result.task("click").metrics["roc_auc"].value, abs=1e-3)

    reliability = result.task("click").curves["reliability"]
    observed, predicted = calibration_curve(table["click__label"], table["click__prediction"], n_bins=15)
    assert reliability["observed"] == pytest.approx(observed)
    assert reliability["predicted"] == pytest.approx(predicted)
    assert sum(reliability["rows"]) == ROWS

    deciles = result.task("order_value").curves["predicted_vs_observed"]
    label, prediction = column(table, "label", "order_value"), column(table, "prediction", "order_value")
    assert deciles["predicted"] == sorted(deciles["predicted"])
    assert np.dot(deciles["observed"], deciles["rows"]) == pytest.approx(label.sum())
    assert max(deciles["rows"]) - min(deciles["rows"]) <= 1
    lowest = np.argsort(prediction)[: int(deciles["rows"][0])]
    assert deciles["observed"][0] == pytest.approx(label[lowest].mean())

    chosen = column(table, "prediction", "rating").argmax(axis=1)
    wanted = confusion_matrix(column(table, "label", "rating"), chosen, labels=range(4))
    assert result.task("rating").curves["confusion"]["count"] == wanted.ravel().tolist()


def test_without_groups_rows_are_drawn_and_there_is_no_gauc(table: pa.Table) -> None:
    result = summarise(table, TASKS, train_statistics=STATISTICS, replicates=20)
    assert "gauc" not in result.task("click").metrics
    assert result.groups is None
    assert result.task("click").metrics["roc_auc"].low is not None


def test_without_replicates_there_are_no_intervals(table: pa.Table, result: EvaluationResult) -> None:
    quick = summarise(table, TASKS, group_by="user_id", train_statistics=STATISTICS, replicates=0)
    for task in quick.tasks:
        for name, metric in task.metrics.items():
            assert metric.value == result.task(task.task).metrics[name].value
            assert metric.low is None


@pytest.mark.parametrize("rows", [ROWS, 0])
def test_a_task_that_is_nowhere_observed_has_no_values(table: pa.Table, rows: int, tmp_path: Path) -> None:
    for task in TASKS:
        position = table.column_names.index(f"{task}__observed")
        table = table.set_column(position, f"{task}__observed", pa.array(np.zeros(ROWS, dtype=bool)))
    result = summarise(table.slice(0, rows), TASKS, group_by="user_id", train_statistics=STATISTICS)
    for task in result.tasks:
        assert (task.rows, task.rows_in_split, task.base, task.share_of_attainable) == (0, rows, None, None)
        assert task.curves == {}
        for metric in task.metrics.values():
            assert (metric.value, metric.low, metric.baseline) == (None, None, None)
    assert read_result(write_result(result, tmp_path)) == result
    Console(width=100, quiet=True).print(results_table(result))


def test_one_class_only_leaves_ranking_undefined_and_the_rest_defined(table: pa.Table) -> None:
    negatives = table.filter(pa.compute.equal(table["click__label"], 0.0))
    click = summarise(negatives, {"click": TASKS["click"]}, group_by="user_id", train_statistics=STATISTICS).tasks[0]
    assert click.metrics["roc_auc"].value is None
    assert click.metrics["gauc"].value is None
    assert click.metrics["log_loss"].low is not None
    assert set(click.curves) == {"reliability"}


def test_no_label_in_the_training_part_leaves_the_baseline_out(table: pa.Table) -> None:
    statistics = {"click": LabelStatistics(observed=0)}
    result = summarise(table, {"click": TASKS["click"]}, train_statistics=statistics, replicates=0)
    assert result.tasks[0].metrics["log_loss"].value is not None
    assert result.tasks[0].metrics["log_loss"].baseline is None


def test_string_groups_equal_numbered_ones(table: pa.Table, result: EvaluationResult) -> None:
    names = pa.array([f"u{key}" for key in table["user_id"].to_pylist()])
    renamed = table.set_column(table.column_names.index("user_id"), "user_id", names)
    again = summarise(renamed, TASKS, group_by="user_id", train_statistics=STATISTICS, created=result.created)
    assert again.task("click").metrics["gauc"].value == pytest.approx(result.task("click").metrics["gauc"].value)
    assert again.groups == result.groups


def test_the_document_comes_back_as_it_was(result: EvaluationResult, tmp_path: Path) -> None:
    path = write_result(result, tmp_path)
    assert path == tmp_path / "evaluation" / "test.json"
    assert read_result(path) == result
    assert [entry.name for entry in path.parent.iterdir()] == ["test.json"]
    assert "NaN" not in path.read_text()


def test_a_missing_and_a_damaged_document(result: EvaluationResult, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no evaluation result"):
        read_result(tmp_path / "test.json")
    path = write_result(result, tmp_path)
    path.write_text(path.read_text()[:300])
    with pytest.raises(DataError, match="damaged"):
        read_result(path)


def test_a_folder_that_is_a_file(result: EvaluationResult, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_result(result, tmp_path / "run")


def test_what_is_wrong_with_a_table_is_said_by_column(table: pa.Table) -> None:
    def evaluate(bad: pa.Table) -> None:
        summarise(bad, TASKS, group_by="user_id", train_statistics=STATISTICS, replicates=0)

    def with_column(name: str, values: pa.Array) -> pa.Table:
        return table.set_column(table.column_names.index(name), name, values)

    with pytest.raises(DataError, match="column click__prediction"):
        evaluate(table.drop_columns("click__prediction"))
    with pytest.raises(DataError, match="column user_id"):
        evaluate(with_column("user_id", pa.array([None, *range(ROWS - 1)])))
    with pytest.raises(DataError, match=r"column click__prediction\n.*1 of 3000 values"):
        evaluate(with_column("click__prediction", pa.array([np.nan] + [0.5] * (ROWS - 1))))
    with pytest.raises(DataError, match="column click__observed"):
        evaluate(with_column("click__observed", pa.array([1] * ROWS)))
    with pytest.raises(DataError, match="column rating__prediction"):
        evaluate(with_column("rating__prediction", pa.array(["a"] * ROWS)))


def printed(result: EvaluationResult, every_metric: bool = False) -> list[str]:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(results_table(result, every_metric))
    return capture.get().splitlines()


def test_the_table_is_readable_at_80_columns(result: EvaluationResult) -> None:
    lines = printed(result)
    roc_auc = result.task("click").metrics["roc_auc"]
    assert roc_auc.value is not None
    first = next(line for line in lines if "roc_auc" in line)
    share = result.task("click").share_of_attainable
    for part in ("click", f"{roc_auc.value:.4f} ", f"[{roc_auc.low:.4f}, {roc_auc.high:.4f}]", "0.5000"):
        assert part in first
    assert any("of the attainable" in line and f"{100 * share:.1f} %" in line for line in lines)
    assert any(line.startswith("3,000 rows") for line in lines)
    assert any(line.strip().startswith("order_value ") for line in lines)
    assert not any("…" in line for line in lines)
    long = result.tasks[0].model_copy(update={"task": "purchase_7_days", "rows": 1_234_567})
    assert any(line.startswith("purchase_7_days ") for line in printed(result.model_copy(update={"tasks": (long,)})))
    names = [name for task in result.tasks for name in task.metrics]
    everything = printed(result, every_metric=True)
    assert all(any(f" {name} " in line for line in everything) for name in names)
    assert len(lines) < len(everything)
