"""The quality benchmark: its loop is the product's training, its peers are right, its verdicts say what was found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from mtl_ray.checkpoint import load_checkpoint
from mtl_ray.config import Config, load_config, parse_config
from mtl_ray.data.snapshot import Snapshot, build_training_set
from mtl_ray.training.launch import train
from tests.benchmarks.measure import Measured
from tests.benchmarks.quality.architectures import every_architecture
from tests.benchmarks.quality.averaged import averaged
from tests.benchmarks.quality.data_set import ROOT, SOURCES, Prepared
from tests.benchmarks.quality.encoded_rows import EncodedRows, targets
from tests.benchmarks.quality.figures import PARTS, choice_score, mean_over_tasks, predictions_file
from tests.benchmarks.quality.gradient_boosting import Boosting, categorical_columns, design_matrix
from tests.benchmarks.quality.loop import train_here
from tests.benchmarks.quality.ours import Training
from tests.benchmarks.quality.rows import Row
from tests.benchmarks.quality.sides import PEERS, Side, boosting_side, our_names, our_side, rechub_sides
from tests.benchmarks.quality.table import header, lines, markdown
from tests.benchmarks.quality.torch_rechub_models import NUMERIC, RecHub, validation_loss
from tests.benchmarks.quality.trainings import Trainings, key
from tests.benchmarks.quality.verdicts import ecommerce_verdicts, kuairand_verdicts

SMALL = {
    "num_experts": 2,
    "expert": [16],
    "tower": [8],
    "dropout": 0.0,
    "embedding_dim": 4,
    "levels": 1,
    "task_experts": 1,
    "shared_experts": 1,
}
"""Sizes of torch-rechub's models."""


@pytest.fixture(scope="module")
def config(shop: Any) -> Config:
    tree = {**shop.config, "training": {**shop.config["training"], "workers": 1, "precision": "fp64"}}
    return parse_config({**tree, "model": {**tree["model"], "dropout": 0.1}})


@pytest.fixture(scope="module")
def snapshot(config: Config) -> Snapshot:
    return build_training_set(
        config.storage, config.features, config.training_set, config.tasks, config.evaluation.group_by
    )


def two_tasks(config: Config, **training: Any) -> Config:
    """Only tasks whose labels stand in every row."""
    tree = config.model_dump(mode="json")
    tasks = {name: tree["tasks"][name] for name in ("click", "purchase")}
    return parse_config({**tree, "tasks": tasks, "training": {**tree["training"], **training}})


@pytest.mark.usefixtures("ray_cluster")
def test_the_loop_gives_the_weights_of_the_product(config: Config, snapshot: Snapshot, tmp_path: Path) -> None:
    outcome = train(config, lambda _: None, lambda _: None)
    here = train_here(config, snapshot, tmp_path)
    assert here.best_epoch == outcome.summary["best_epoch"]
    assert here.epochs[here.best_epoch - 1]["loss"] == pytest.approx(outcome.summary["best"], rel=1e-10)
    theirs, ours = load_checkpoint(outcome.run.checkpoint("best")), load_checkpoint(tmp_path)
    assert ours.position == theirs.position
    assert ours.context == theirs.context
    assert ours.weights.keys() == theirs.weights.keys()
    for name, tensor in ours.weights.items():
        torch.testing.assert_close(tensor, theirs.weights[name], rtol=0, atol=1e-10, msg=name)


def test_our_figures_are_of_the_test_rows(config: Config, snapshot: Snapshot, tmp_path: Path) -> None:
    side = Training(config, snapshot, tmp_path)
    figures = side.check(side.run())
    json.dumps(figures)
    assert set(figures["test"]) == {"click", "purchase", "order_value", "rating"}
    click = figures["test"]["click"]
    assert click["rows"] == snapshot.manifest.rows["test"]
    assert click["roc_auc"]["low"] <= click["roc_auc"]["value"] <= click["roc_auc"]["high"]
    assert 0.2 < click["share_of_attainable"] < 1.1
    assert figures["validation"]["click"]["gauc"]["low"] is None
    expected = (figures["test"]["click"]["roc_auc"]["value"] + figures["test"]["purchase"]["roc_auc"]["value"]) / 2
    assert mean_over_tasks(figures["test"], "roc_auc") == pytest.approx(expected)


def test_boosting_predicts_with_its_best_iteration(config: Config, snapshot: Snapshot) -> None:
    side = Boosting(config, snapshot, seed=0, learning_rates=(0.3, 0.1), max_iter=40, patience=5)
    result = side.run()
    click = result["click"]
    assert set(result) == {"click", "purchase", "order_value"}
    assert click["learning_rate"] in (0.1, 0.3)
    assert 1 <= click["iterations"] <= 40
    train_rows, test_rows = (EncodedRows.read(snapshot, part) for part in ("train", "test"))
    again = HistGradientBoostingClassifier(
        learning_rate=click["learning_rate"],
        max_iter=click["iterations"],
        categorical_features=categorical_columns(train_rows),
        early_stopping=False,
        random_state=0,
    ).fit(design_matrix(train_rows), train_rows.label("click"))
    expected = again.predict_proba(design_matrix(test_rows))[:, 1]
    np.testing.assert_allclose(click["predicted"]["test"], expected, atol=1e-12)
    figures = side.check(result)
    auc = roc_auc_score(test_rows.label("click"), expected)
    assert figures["test"]["click"]["roc_auc"]["value"] == pytest.approx(auc, abs=1e-6)
    bought = np.isfinite(test_rows.label("order_value"))
    assert figures["test"]["order_value"]["rows"] == bought.sum()
    assert (result["order_value"]["predicted"]["test"] > 0).all()


@pytest.mark.parametrize("model", ["mmoe", "ple"])
def test_torch_rechub_learns_from_the_same_rows(config: Config, snapshot: Snapshot, model: str) -> None:
    side = RecHub(two_tasks(config, epochs=2), snapshot, model, SMALL, learning_rate=0.01, seed=0)
    result = side.run()
    assert len(result["losses"]) == 2
    figures = side.check(result)
    assert figures["best_epoch"] == 1 + int(np.argmin(result["losses"]))
    label = EncodedRows.read(snapshot, "test").label("click")
    auc = roc_auc_score(label, result["predicted"]["test"]["click"])
    assert auc > 0.6
    assert figures["test"]["click"]["roc_auc"]["value"] == pytest.approx(auc, abs=1e-6)


def test_torch_rechub_gets_every_row_once(config: Config, snapshot: Snapshot) -> None:
    two = two_tasks(config, global_batch_size=512)
    rows = RecHub(two, snapshot, "mmoe", {}, 0.01, 3)._rows("train", targets(two, snapshot))
    batches = list(rows)
    assert len(batches) == len(rows)
    drawn = torch.cat([inputs[NUMERIC] for inputs, _ in batches]).sort(dim=0).values
    stored = EncodedRows.read(snapshot, "train").batch.numeric
    assert torch.equal(drawn, stored.sort(dim=0).values)
    assert not torch.equal(torch.cat([inputs[NUMERIC] for inputs, _ in rows]), stored)


def test_validation_loss_is_that_of_our_models(config: Config, snapshot: Snapshot) -> None:
    wanted = targets(config, snapshot)
    assert [target.name for target in wanted] == ["click", "purchase", "order_value"]
    predicted, labels = np.array([[0.5, 0.25, 1.0]]), np.array([[1.0, 0.0, -1.0]])
    assert validation_loss(wanted, predicted, labels) == pytest.approx(np.log(2) - np.log(0.75) + 0.3 * 4.0)
    amounts = np.array([0.0, 3.0, 70.0])
    np.testing.assert_allclose(wanted[2].decode(wanted[2].encode(amounts)), amounts, atol=1e-9)


@pytest.mark.parametrize("dataset", list(SOURCES))
def test_every_side_has_a_config(dataset: str) -> None:
    tree = load_config(ROOT / SOURCES[dataset].config).model_dump(mode="json")
    prepared = Prepared("snapshot", tree)
    names = our_names(dataset)
    for name in names:
        config = parse_config(our_side(dataset, prepared, name).arguments["config"])
        assert config.model.name == name.partition("+")[0]
        assert config.model.encoder.embedding_dim == tree["model"]["encoder"]["embedding_dim"]
    if dataset == "ecommerce":
        assert set(names) == set(every_architecture())


def test_trainings_are_averaged_by_their_logits(config: Config, snapshot: Snapshot, tmp_path: Path) -> None:
    kept = [str(tmp_path / f"seed{seed}") for seed in range(3)]
    found = []
    for seed, keep in enumerate(kept):
        side = RecHub(two_tasks(config, epochs=1), snapshot, "mmoe", SMALL, learning_rate=0.01, seed=seed, keep=keep)
        result = side.run()
        side.check(result)
        found.append(result["predicted"]["test"])
    figures = averaged(two_tasks(config), snapshot, kept)
    label = EncodedRows.read(snapshot, "test").label("click")
    odds = np.prod([one["click"] / (1 - one["click"]) for one in found], axis=0) ** (1 / 3)
    expected = roc_auc_score(label, odds / (1 + odds))
    assert figures["test"]["click"]["roc_auc"]["value"] == pytest.approx(expected, abs=1e-5)
    assert figures["test"]["click"]["rows"] == len(label)


def document(auc: Mapping[str, float], share: float | None = None) -> dict[str, Any]:
    tasks: dict[str, Any] = {}
    for task, value in auc.items():
        metrics = {name: {"value": value, "low": value - 0.01, "high": value + 0.01} for name in ("roc_auc", "gauc")}
        tasks[task] = {"type": "binary", "rows": 10, **metrics}
        if share is not None:
            tasks[task]["share_of_attainable"] = share
    return {"validation": tasks, "test": tasks, "parameters": 7, "best_epoch": 2}


def row(side: str, values: list[float], ours: bool = True, chosen: bool = False, share: float | None = None) -> Row:
    tasks = ("click", "long_view", "like")
    runs = {
        seed: Measured(1.0, 2.0, 1.0, document(dict.fromkeys(tasks, value), share)) for seed, value in enumerate(values)
    }
    return Row(side, ours, runs, chosen)


def test_verdicts_compare_means_over_seeds() -> None:
    seeds = [0.75] * 4
    ahead = [row("ple", [*seeds, 0.76], chosen=True), row("mmoe", [*seeds, 0.77], chosen=True), row("stem", [0.5])]
    peers = [row(name, [0.7519] * 5, ours=False) for name in PEERS]
    found = kuairand_verdicts([*ahead, *peers], seeds=5, quick=False)
    assert len(found) == 2 + 2 * 3
    assert all(verdict.met for verdict in found)
    assert "ple 0.7520, mmoe 0.7540; gradient_boosting 0.7519" in (found[0].measured or "")
    tasks = dict.fromkeys(("click", "long_view", "like"), 0.7525)
    together = [replace(one, together=document(tasks)) for one in ahead[:2]]
    more = kuairand_verdicts([*together, *ahead[2:], *peers], seeds=5, quick=False)[len(found) :]
    assert [verdict.met for verdict in more] == [True] * 3
    assert "ple, 5 trainings averaged 0.7525" in (more[0].measured or "")
    behind = [row("ple", [0.75] * 5, chosen=True), *ahead[1:], *peers]
    assert not any(verdict.met for verdict in kuairand_verdicts(behind, 5, quick=False))
    for rows, count, quick in (
        ([*ahead, *peers[1:]], 5, False),
        ([*ahead, *peers], 1, False),
        ([*ahead, *peers], 5, True),
    ):
        assert {verdict.met for verdict in kuairand_verdicts(rows, count, quick)} == {None}


def test_verdicts_of_a_structure_that_fails_or_falls_short() -> None:
    failed = Row("esmm", True, {0: Measured(error="ValueError: no")})
    rows = [row("mmoe", [0.8], share=0.94), row("snr", [0.7], share=0.92), failed]
    found = ecommerce_verdicts(rows, quick=False)
    assert [verdict.met for verdict in found] == [True, False, False]
    assert [verdict.measured for verdict in found] == ["0.940", "0.920", "ValueError: no"]
    assert found[0].model_copy(update={"met": None}) == ecommerce_verdicts(rows, quick=True)[0]


def test_the_table_has_a_cell_for_every_column() -> None:
    rows = [row("ple", [0.7, 0.8], chosen=True), Row("esmm", True, {0: Measured(error="died")}), row("x", [0.6], False)]
    assert {len(line) for line in lines(rows)} == {len(header(rows))}
    assert "0.7500 [0.740, 0.760] ±0.0707" in lines(rows)[0]
    together = Row("ple", True, rows[0].runs, together=document({"click": 0.9}))
    assert [line[:2] for line in lines([together])] == [["ple", "2"], ["ple, 2 trainings averaged", "1"]]
    text = markdown(rows, kuairand_verdicts(rows, 5, quick=False)).splitlines()
    assert {line.count("|") for line in text[:5]} == {len(header(rows)) + 1}
    json.dumps([one.as_json() for one in rows])


def test_trainings_are_found_again(tmp_path: Path) -> None:
    tree = load_config(ROOT / SOURCES["kuairand"].config).model_dump(mode="json")
    here, there = Prepared("/a/set-1", tree), Prepared("/b/set-1", {**tree, "storage": "elsewhere"})
    side = our_side("kuairand", here, "mmoe")
    assert key(side, 0) == key(our_side("kuairand", there, "mmoe"), 0)
    other = {**tree, "training": {**tree["training"], "epochs": 9}}
    changed = [
        key(our_side("kuairand", here, "ple"), 0),
        key(side, 1),
        key(our_side("kuairand", Prepared("/a/set-2", tree), "mmoe"), 0),
        key(our_side("kuairand", Prepared("/a/set-1", other), "mmoe"), 0),
        *(key(one, 0) for one in rechub_sides(here, "torch_rechub_ple", quick=False)),
    ]
    assert len({*changed, key(side, 0)}) == len(changed) + 1
    assert key(boosting_side(here, False), 0) == key(boosting_side(Prepared("/a/set-1", other), False), 0)

    trainings = Trainings(tmp_path)
    absent = Side("absent", "no_such_module:side", {"snapshot": "s", "config": tree})
    failed = trainings.run(absent, 0)
    assert "No module named 'no_such_module'" in (failed.error or "")
    assert not list(tmp_path.iterdir())
    stored = Measured(3.0, 4.0, 1.0, document({"click": 0.7}))
    begin = tmp_path / f"absent-seed0-{key(absent, 0)}"
    begin.with_suffix(".json").write_text(json.dumps({"measured": vars(stored)}))
    assert trainings.run(absent, 0).error is not None, "without its predictions a training is not found"
    for part in PARTS:
        predictions_file(str(begin), part).touch()
    assert trainings.run(absent, 0) == stored
    assert choice_score(stored.figures) == pytest.approx(0.7)
    assert Trainings(tmp_path, fresh=True).run(absent, 0).error is not None
