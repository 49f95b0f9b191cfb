"""A loss that is scaled for the balancing benchmark: the training step sees it, validation and predictions do not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from mtl_ray.batch import Batch
from mtl_ray.config import Config, load_config, parse_config
from mtl_ray.data.snapshot import open_snapshot
from mtl_ray.models import ModelConfig
from mtl_ray.optim import OptimizerConfig, ScheduleConfig, build_optimizer, build_schedule
from mtl_ray.schema import BatchSchema, LabelStatistics
from mtl_ray.tasks import BinaryTask
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import StaticWeightingConfig, WeightingContext
from tests.benchmarks.balancing.methods import PLAIN, methods
from tests.benchmarks.balancing_quality.data_sets import TOGETHER, Planted
from tests.benchmarks.balancing_quality.scaled_loss import ScaledLoss, with_scaled_losses
from tests.benchmarks.balancing_quality.tables import with_method
from tests.benchmarks.balancing_quality.training import BalancedTraining
from tests.benchmarks.quality.data_set import ROOT, SOURCES, Prepared
from tests.planted_conflict import SHARED, TASKS, rows


def config_of(**tasks: Any) -> Config:
    tree = load_config(ROOT / SOURCES["ecommerce"].config).model_dump(mode="json")
    return parse_config({**tree, "tasks": {**tree["tasks"], **tasks}})


def gradients(factors: Mapping[str, float]) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Of every parameter after one real training step on the planted conflict, and the task losses that it counted."""
    features, labels = rows(200, seed=0)
    schema = BatchSchema(vocabularies={}, numeric=("x", "z"), tasks=TASKS)
    statistics = LabelStatistics(observed=200, mean=0.5)
    settings = with_scaled_losses(planted_pair(), factors).tasks
    tasks = {name: settings[name].build(name, statistics) for name in TASKS}
    torch.manual_seed(0)
    model = TypeAdapter(ModelConfig).validate_python({**SHARED, "bottom": [4]}).build(schema, tasks).double()
    optimizer = build_optimizer(OptimizerConfig(), model)
    schedule = build_schedule(ScheduleConfig(), optimizer, 10)
    weighting = StaticWeightingConfig().build(WeightingContext(dict.fromkeys(TASKS, 1.0)))
    step = TrainStep(model, tasks, weighting, optimizer, schedule, None, "fp64", torch.device("cpu"))
    step(as_batch(features, labels))
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    return found, list(step.totals.means().values())


def planted_pair() -> Config:
    tree = load_config(ROOT / SOURCES["ecommerce"].config).model_dump(mode="json")
    return parse_config({**tree, "model": SHARED, "tasks": {name: {"type": "binary"} for name in TASKS}})


def as_batch(features: np.ndarray, labels: np.ndarray) -> Batch:
    number = len(features)
    return Batch(
        categorical=torch.zeros(number, 0, dtype=torch.int32),
        numeric=torch.from_numpy(features),
        labels=torch.from_numpy(labels),
        observed=torch.ones(number, len(TASKS), dtype=torch.bool),
        sample_weight=torch.ones(number),
        row_id=torch.arange(number),
    )


def test_the_training_step_sees_the_scaled_loss() -> None:
    plain, losses = gradients({})
    scaled, scaled_losses = gradients({"left": 1000.0})
    only_right, _ = gradients({"left": 0.0})
    assert scaled_losses == pytest.approx([1000.0 * losses[0], losses[1]], rel=1e-12)
    towers = {task: [name for name in plain if task in name] for task in TASKS}
    shared = [name for name in plain if name not in {*towers["left"], *towers["right"]}]
    assert shared
    assert all(towers.values())
    for name in towers["left"]:
        torch.testing.assert_close(scaled[name], 1000.0 * plain[name], rtol=1e-9, atol=0)
    for name in towers["right"]:
        torch.testing.assert_close(scaled[name], plain[name], rtol=1e-9, atol=0)
    for name in shared:
        assert plain[name].abs().sum() > 0
        of_left = plain[name] - only_right[name]
        torch.testing.assert_close(scaled[name], only_right[name] + 1000.0 * of_left, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("task", ["click", "order_value", "rating"])
def test_only_the_training_loss_is_scaled(task: str) -> None:
    config = config_of()
    counts = (3, 1, 2, 2, 2) if task == "rating" else None
    statistics = LabelStatistics(observed=10, mean=0.3, transformed_mean=2.0, transformed_std=1.5, class_counts=counts)
    inner = config.tasks[task].build(task, statistics)
    outer = with_scaled_losses(config, {task: 1000.0}).tasks[task].build(task, statistics)
    assert isinstance(outer, ScaledLoss)
    random = torch.Generator().manual_seed(0)
    logits, label = torch.randn(6, inner.num_outputs, generator=random), torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    assert inner.num_outputs == outer.num_outputs
    assert (outer.config.model_dump(), outer.name) == (inner.config.model_dump(), task)
    torch.testing.assert_close(outer.loss(logits, label), 1000.0 * inner.loss(logits, label))
    assert torch.equal(outer.held_out_loss(logits, label), inner.held_out_loss(logits, label))
    assert torch.equal(outer.predict(logits), inner.predict(logits))
    assert torch.equal(outer.initial_bias(), inner.initial_bias())
    assert outer.metrics(grouped=False).keys() == inner.metrics(grouped=False).keys()


def test_a_scaled_loss_passes_on_what_its_task_says_of_rows() -> None:
    config = config_of(click={"type": "binary", "positive_weight": 3.0})
    statistics = LabelStatistics(observed=10, mean=0.3, negative_keep=0.5)
    inner = config.tasks["click"].build("click", statistics)
    outer = ScaledLoss(inner, 1000.0)
    label, observed = torch.tensor([0.0, 1.0]), torch.tensor([True, True])
    assert isinstance(inner, BinaryTask)
    for mine, theirs in (
        (outer.class_weight(label), inner.class_weight(label)),
        (outer.copies(label, observed), inner.copies(label, observed)),
        (outer.corrected(label[:, None]), inner.corrected(label[:, None])),
    ):
        assert mine is not None
        assert theirs is not None
        assert torch.equal(mine, theirs)


@pytest.fixture(scope="module")
def planted_sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Prepared]:
    return Planted(tmp_path_factory.mktemp("planted"), 600).run()


def trained(prepared: Prepared, folder: Path, scaled: Mapping[str, float]) -> dict[str, Any]:
    tree = with_method(prepared.config, methods()[PLAIN])
    training = {**tree["training"], "epochs": 1}
    side = BalancedTraining(
        parse_config({**tree, "training": training}), open_snapshot(prepared.snapshot), scaled, folder
    )
    figures = side.check(side.run())
    json.dumps(figures)
    return figures


def test_a_training_with_a_scaled_loss_is_another_one_and_is_judged_alike(
    planted_sets: dict[str, Prepared], tmp_path_factory: pytest.TempPathFactory
) -> None:
    plain, again, scaled = (
        trained(planted_sets[TOGETHER], tmp_path_factory.mktemp("checkpoint"), factors)
        for factors in ({}, {"left": 1.0}, {"left": 1000.0})
    )
    alone = trained(planted_sets["left"], tmp_path_factory.mktemp("checkpoint"), {})
    assert again["replicates"] == plain["replicates"]
    assert scaled["replicates"]["right"] != plain["replicates"]["right"]
    # Validation losses are of the unscaled kind: two cross-entropies, no thousands.
    assert 0.0 < scaled["validation_loss"][0] < 5.0
    assert set(alone["replicates"]) == {"left"}
    assert alone["test_rows"] == plain["test_rows"]
    assert len(plain["replicates"]["left"]) == 200
    assert np.mean(plain["replicates"]["left"]) == pytest.approx(plain["test"]["left"]["roc_auc"]["value"], abs=0.02)
