"""The balancing benchmark: differences are paired by seeds and users, and the tables say what was found."""

from __future__ import annotations

import json
from inspect import signature
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from mtl_ray.config import Config, load_config, parse_config
from tests.benchmarks.balancing.methods import PLAIN, methods
from tests.benchmarks.balancing_quality.differences import Difference, difference
from tests.benchmarks.balancing_quality.rendering import as_json, header, lines, markdown
from tests.benchmarks.balancing_quality.replicates import auc_replicates, drawn, rows_digest
from tests.benchmarks.balancing_quality.rows import Row, side_by_side
from tests.benchmarks.balancing_quality.tables import Table, learning_faster, with_method
from tests.benchmarks.balancing_quality.training import training
from tests.benchmarks.balancing_quality.verdicts import verdicts
from tests.benchmarks.measure import Measured
from tests.benchmarks.quality.data_set import ROOT, SOURCES


def config_of(**tasks: Any) -> Config:
    tree = load_config(ROOT / SOURCES["ecommerce"].config).model_dump(mode="json")
    return parse_config({**tree, "tasks": {**tree["tasks"], **tasks}})


def predictions(seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    label = np.random.default_rng(99).random(60) < 0.4
    return pa.table(
        {
            "row_id": np.arange(60),
            "user_id": np.arange(60) // 3,
            **{
                f"{task}__{name}": values
                for task in ("click", "cart", "purchase")
                for name, values in (
                    ("label", label.astype(np.float32)),
                    ("observed", np.ones(60, dtype=bool)),
                    ("prediction", random.random(60).astype(np.float32)),
                )
            },
        }
    )


def test_replicates_resample_users_alike_for_every_model() -> None:
    config, table = config_of(), predictions(0)
    found = auc_replicates(table, config, replicates=5)
    assert set(found) == {"click", "cart", "purchase"}
    counts = drawn(20, 5)
    assert (counts.sum(axis=1) == 20).all()
    for model in (table, predictions(1)):
        label, prediction = model["click__label"].to_numpy(), model["click__prediction"].to_numpy()
        expected = [roc_auc_score(label, prediction, sample_weight=np.repeat(line, 3)) for line in counts]
        assert auc_replicates(model, config, replicates=5)["click"] == pytest.approx(expected, abs=1e-6)
    assert rows_digest(table) == rows_digest(predictions(1)) != rows_digest(table.take(list(range(59, -1, -1))))


def test_the_interval_has_the_variance_of_users_and_of_seeds() -> None:
    values, others = [0.80, 0.82, 0.84], [0.80, 0.81, 0.82]
    same = [[0.5] * 4] * 3
    seeds_only = difference(values, others, same, same)
    half = student.ppf(0.975, 2) * 0.01 / 3**0.5
    assert (seeds_only.value, seeds_only.low, seeds_only.high) == pytest.approx((0.01, 0.01 - half, 0.01 + half))
    moved = [[0.5, 0.6, 0.5, 0.6]] * 3
    users_only = difference([0.8] * 3, [0.7] * 3, moved, same)
    half = student.ppf(0.975, 3) * np.std(moved[0], ddof=1)
    assert (users_only.value, users_only.low, users_only.high) == pytest.approx((0.1, 0.1 - half, 0.1 + half))
    both = difference(values, others, moved, same)
    # Variances 1/300 and 1/30000 with 3 and 2 degrees of freedom: 3.0598 together.
    half = student.ppf(0.975, 3.0598) * (1 / 300 + 1 / 30_000) ** 0.5
    assert (both.low, both.high) == pytest.approx((0.01 - half, 0.01 + half), rel=1e-4)
    assert difference(values, others, moved, moved).high == pytest.approx(seeds_only.high)
    assert difference(others, others, same, same) == Difference(0.0, 0.0, 0.0)
    assert difference([0.8], [0.7], same[:1], same[:1]).low is None


def test_signs() -> None:
    assert [Difference(0.0, low, low + 2.0).sign for low in (-3.0, -1.0, 1.0)] == [-1, 0, 1]
    assert Difference(1.0, None, None).sign == 0
    assert Difference(-2.0, -3.0, -1.0).turned() == Difference(2.0, 1.0, 3.0)


def run(click: float, like: float, rows: str = "same") -> Measured:
    tasks = {
        name: {"type": "binary", "rows": 9, "roc_auc": {"value": value, "low": None, "high": None}}
        for name, value in (("click", click), ("like", like))
    }
    replicates = {"click": [click] * 3, "like": [like] * 3}
    figures = {"validation": tasks, "test": tasks, "replicates": replicates, "cpu_seconds": 2.0, "test_rows": rows}
    return Measured(9.0, 1.0, 1.0, figures)


def row(method: str, *values: tuple[float, float]) -> Row:
    return Row(method, "plain", {seed: run(*both) for seed, both in enumerate(values)})


def table(harm: bool) -> Table:
    worse = row("worse", (0.690, 0.8), (0.691, 0.8), (0.690, 0.8))
    same = row("schedule", *[(0.7, 0.8)] * 3)
    failed = Row("failed", "plain", {0: Measured(error="DivergedError: no")})
    return Table(
        "made_up",
        "made up",
        (row("equal sum", *[(0.7, 0.8)] * 3), worse, same, failed),
        ("click", "like"),
        ("equal sum",),
        harm,
    )


def test_the_table_shows_who_is_harmed() -> None:
    shown = table(harm=False)
    names, cells = header(shown), {line[0]: line for line in lines(shown)}
    assert {len(line) for line in cells.values()} == {len(names)}
    at = names.index("click − equal sum")
    assert cells["worse"][at].startswith("−0.0097 [−0.0111, −0.0082] ▼")
    assert cells["schedule"][at] == "+0.0000 [+0.0000, +0.0000]"
    assert cells["equal sum"][at] == ""
    assert cells["worse"][names.index("mean AUC")] == "0.7452"
    assert cells["failed"][-1] == "DivergedError: no"
    turned = table(harm=True)
    harm = lines(turned)[1][header(turned).index("click harm")]
    assert harm == "+0.0097 [+0.0082, +0.0111] ▼"
    found = verdicts([shown], whole=False)
    text = markdown([shown], found)
    assert "| worse | 3 | 0.7452 |" in text
    assert {line.count("|") for line in text.splitlines() if line.startswith(("| method", "| worse"))} == {
        len(names) + 1
    }
    json.dumps([as_json(shown, one) for one in shown.rows])


def test_a_gain_is_marked_as_one() -> None:
    better = row("better", (0.7, 0.81), (0.7, 0.811), (0.7, 0.81))
    shown = Table("t", "t", (row("equal sum", *[(0.7, 0.8)] * 3), better), ("click", "like"), ("equal sum",), harm=True)
    assert lines(shown)[1][header(shown).index("like harm")].endswith("▲")
    assert "gain: better (mean, like)" in (verdicts([shown], whole=True)[0].measured or "")


def test_verdicts_state_figures_and_goals_are_met_by_whole_runs() -> None:
    (partial,) = verdicts([table(harm=False)], whole=False)
    assert partial.met is None
    assert partial.measured == "6 intervals; harm: worse (mean, click); gain: none; failed: failed"
    assert verdicts([table(harm=False)], whole=True)[0].met is False
    complete = Table("t", "t", (row("equal sum", (0.7, 0.8)), row("pcgrad", (0.7, 0.8))), ("click",), ("equal sum",))
    assert verdicts([complete], whole=True)[0].met is True


def test_rows_of_other_resamples_are_not_compared() -> None:
    with pytest.raises(ValueError, match="not tested on the same rows"):
        row("a", (0.7, 0.8)).less(Row("b", "plain", {0: run(0.7, 0.8, rows="other")}), ["click"])


def test_tasks_trained_alone_stand_side_by_side() -> None:
    left, right = run(0.7, 0.8), run(0.6, 0.9)
    for one, task in ((left, "like"), (right, "click")):
        for part in ("validation", "test", "replicates"):
            one.figures[part] = {name: value for name, value in one.figures[part].items() if name != task}
    both = side_by_side([left, right])
    alone = Row("alone", "alone", {0: both})
    assert (alone.auc(["click"]), alone.auc(["like"]), alone.seconds) == (0.7, 0.9, 4.0)
    assert side_by_side([left, Measured(error="died")]).error == "died"


def test_every_method_is_a_valid_config_with_equal_task_weights() -> None:
    tree = load_config(ROOT / SOURCES["ecommerce"].config).model_dump(mode="json")
    known = list(methods().values())
    for method in known:
        config = parse_config(with_method(tree, method))
        assert {task.weight for task in config.tasks.values()} == {1.0}
        assert config.weighting == method.weighting
        if method.aggregation is None:
            assert config.aggregation.name == PLAIN
        else:
            assert config.aggregation == method.aggregation.model_copy(update={"on": method.on})
    faster = {method.name: parse_config(with_method(tree, method)).weighting for method in learning_faster(known)}
    assert set(faster) == {f"{name}, learning rate 0.1" for name in ("uncertainty", "imtl_l", "famo")}
    assert {weighting.model_dump()["learning_rate"] for weighting in faster.values()} == {0.1}


def test_a_training_takes_what_trainings_of_all_benchmarks_are_given() -> None:
    given = {"snapshot", "seed", "config", "keep"}
    assert given | {"scaled"} == set(signature(training).parameters)
