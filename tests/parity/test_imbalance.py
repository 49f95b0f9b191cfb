"""Sampled and weighted training predicts the true rates.

A saturated model (one logit a cell) has a closed form: what it must predict is the cell's own rate, to 1e-6. A logistic
model is compared with the parameters that drew its labels, in standard errors of its own fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.checkpoint import ModelContext, TrainingPosition, save_checkpoint
from mtl_ray.config import parse_config
from mtl_ray.data.labels import Labels
from mtl_ray.data.preprocessing import PreprocessingConfig, fit
from mtl_ray.data.sampling import NegativeSamplingConfig, OverSamplingConfig, repeats, with_sampling
from mtl_ray.predictor import Predictor
from mtl_ray.schema import BatchSchema, LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, MulticlassTaskConfig, RegressionTaskConfig, Task, TaskConfig
from mtl_ray.tasks.losses import normalise, task_losses, validation_losses
from mtl_ray.training.validation import validate

ROWS = 30_000
SLOPES = {"click": np.array([0.8, -0.5, -3.0]), "like": np.array([-0.6, 0.4, -0.5])}
"""Two slopes and the intercept of each task."""
NEGATIVE = NegativeSamplingConfig(task="click", keep=0.1)
OVER = OverSamplingConfig(task="click", factor=6.5)


class World(NamedTuple):
    features: np.ndarray
    """Two normal features and a 1, float64 `[rows, 3]`."""
    labels: Labels
    """Of click, like and value; value is click + 0.3 * feature + noise, and like follows click as well."""


@pytest.fixture(scope="module")
def world() -> World:
    draw = np.random.default_rng(5)
    features = np.column_stack([draw.normal(size=(ROWS, 2)), np.ones(ROWS)])

    def drawn(log_odds: np.ndarray) -> np.ndarray:
        return (draw.random(ROWS) < 1 / (1 + np.exp(-log_odds))).astype(np.float64)

    click = drawn(features @ SLOPES["click"])
    like = drawn(features @ SLOPES["like"] + 2.0 * click)
    value = click + 0.3 * features[:, 0] + draw.normal(size=ROWS)
    values = np.column_stack([click, like, value])
    observed = np.column_stack([np.ones(ROWS, bool), draw.random((ROWS, 2)) < 0.7])
    return World(features, Labels(np.where(observed, values, 0.0), observed))


CONFIGS: dict[str, TaskConfig] = {
    "click": BinaryTaskConfig(),
    "like": BinaryTaskConfig(),
    "value": RegressionTaskConfig(normalize=False),
}


def statistics(labels: Labels) -> dict[str, LabelStatistics]:
    found = {}
    for column, name in enumerate(CONFIGS):
        values = labels.values[labels.observed[:, column], column]
        mean, std = float(values.mean()), float(values.std())
        found[name] = LabelStatistics(observed=values.size, mean=mean, transformed_mean=mean, transformed_std=std)
    return found


def batch_of(features: np.ndarray, labels: Labels, rows: np.ndarray) -> Batch:
    return Batch(
        categorical=torch.zeros(rows.size, 0, dtype=torch.int32),
        numeric=torch.from_numpy(features[rows]),
        labels=torch.from_numpy(labels.values[rows].astype(np.float64)),
        observed=torch.from_numpy(labels.observed[rows]),
        sample_weight=torch.ones(rows.size, dtype=torch.float64),
        row_id=torch.from_numpy(rows),
    )


def trained(batch: Batch, tasks: Mapping[str, Task]) -> dict[str, Tensor]:
    """Weights `[F, C_t]` by task where the sum of the tasks' losses is least (L-BFGS, float64)."""
    size = batch.numeric.shape[1]
    weights = {
        name: torch.zeros(size, task.num_outputs, dtype=torch.float64, requires_grad=True)
        for name, task in tasks.items()
    }
    optimizer = torch.optim.LBFGS(
        weights.values(), max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        sums, total, _ = task_losses({name: batch.numeric @ weight for name, weight in weights.items()}, batch, tasks)
        loss = normalise(sums, total, world_size=1).sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    return {name: weight.detach() for name, weight in weights.items()}


def sampled_rows(
    labels: Labels, negative: NegativeSamplingConfig | None, over: OverSamplingConfig | None
) -> np.ndarray:
    return np.repeat(np.arange(ROWS), repeats(labels, np.arange(ROWS), list(CONFIGS), negative, over))


def standard_errors(batch: Batch, weight: Tensor, column: int, row_weights: Tensor) -> np.ndarray:
    """Of a logistic fit's coefficients, `[F]`: the sandwich over distinct rows, which repeated rows do not fool."""
    seen = batch.observed[:, column]
    x, y = batch.numeric[seen], batch.labels[seen, column]
    p = torch.sigmoid(x @ weight.squeeze(-1))
    w = row_weights[seen]
    bread = torch.linalg.inv((x * (w * p * (1 - p))[:, None]).T @ x)
    scores = torch.zeros(ROWS, x.shape[1], dtype=torch.float64)
    scores.index_add_(0, batch.row_id[seen], x * (w * (y - p))[:, None])
    return (bread @ (scores.T @ scores) @ bread).diagonal().sqrt().numpy()


@pytest.fixture(scope="module")
def full(world: World) -> dict[str, Tensor]:
    """What all tasks learn from all rows."""
    known = statistics(world.labels)
    tasks = {name: config.build(name, known[name]) for name, config in CONFIGS.items()}
    return trained(batch_of(world.features, world.labels, np.arange(ROWS)), tasks)


SAMPLINGS: dict[str, tuple[NegativeSamplingConfig | None, OverSamplingConfig | None]] = {
    "negatives": (NEGATIVE, None),
    "positives": (None, OVER),
    "both": (NEGATIVE, OVER),
}


@pytest.mark.parametrize("sampling", list(SAMPLINGS))
def test_the_sampled_task_predicts_the_true_odds(world: World, sampling: str) -> None:
    negative, over = SAMPLINGS[sampling]
    found = with_sampling(statistics(world.labels), negative, over)
    tasks = {name: config.build(name, found[name]) for name, config in CONFIGS.items()}
    rows = sampled_rows(world.labels, negative, over)
    batch = batch_of(world.features, world.labels, rows)
    weight = trained(batch, tasks)["click"]
    error = standard_errors(batch, weight, 0, torch.ones(rows.size, dtype=torch.float64))
    probe = torch.eye(3, dtype=torch.float64)
    raw = weight.squeeze(-1).numpy()
    corrected = raw.copy()
    corrected[2] = float(tasks["click"].corrected(probe @ weight)[2])
    assert (np.abs(corrected - SLOPES["click"]) < 4 * error).all()
    assert np.abs(raw[2] - SLOPES["click"][2]) > 15 * error[2], "without the correction"
    predicted = tasks["click"].predict(torch.from_numpy(world.features) @ weight).mean()
    assert float(predicted) == pytest.approx(world.labels.values[:, 0].mean(), rel=0.05)


@pytest.mark.parametrize("sampling", list(SAMPLINGS))
def test_all_other_tasks_learn_as_from_all_rows(world: World, full: dict[str, Tensor], sampling: str) -> None:
    negative, over = SAMPLINGS[sampling]
    before = statistics(world.labels)
    plain = {name: config.build(name, before[name]) for name, config in CONFIGS.items()}
    found = with_sampling(before, negative, over)
    tasks = {name: config.build(name, found[name]) for name, config in CONFIGS.items()}
    rows = sampled_rows(world.labels, negative, over)
    batch = batch_of(world.features, world.labels, rows)
    copies = tasks["click"].copies(batch.labels[:, 0], batch.observed[:, 0])
    assert copies is not None
    corrected, naive = trained(batch, tasks), trained(batch, plain)
    error = standard_errors(batch, corrected["like"], 1, 1 / copies)
    off = (corrected["like"] - full["like"]).squeeze(-1).abs().numpy()
    assert (off < 4 * error).all()
    assert float((naive["like"] - full["like"])[2].abs()) > 8 * error[2], "without the weights"
    # Least squares: noise of variance about 1 over the rows, weighed.
    noise = float(torch.sqrt((1 / copies**2).sum()) / (1 / copies).sum())
    assert float((corrected["value"] - full["value"]).abs().max()) < 6 * noise
    assert float((naive["value"] - full["value"])[2].abs()) > 12 * noise, "without the weights"


def test_a_sampled_task_corrects_its_own_and_weighs_out_the_others(world: World, full: dict[str, Tensor]) -> None:
    """Negatives of click and positives of like are sampled."""
    over = OverSamplingConfig(task="like", factor=3.0)
    found = with_sampling(statistics(world.labels), NEGATIVE, over)
    tasks = {name: config.build(name, found[name]) for name, config in CONFIGS.items()}
    rows = sampled_rows(world.labels, NEGATIVE, over)
    batch = batch_of(world.features, world.labels, rows)
    weights = trained(batch, tasks)
    for column, (name, other) in enumerate([("click", "like"), ("like", "click")]):
        at = list(CONFIGS).index(other)
        copies = tasks[other].copies(batch.labels[:, at], batch.observed[:, at])
        assert copies is not None
        error = standard_errors(batch, weights[name], column, 1 / copies)
        corrected = weights[name].clone()
        corrected[2] = tasks[name].corrected(weights[name][2:])[0]
        assert ((corrected - full[name]).abs().squeeze(-1).numpy() < 4 * error).all(), name


def cells(labels: np.ndarray, cell: np.ndarray) -> Batch:
    """One task; the features say which of four cells a row is in."""
    one_hot = np.eye(4)[cell]
    given = Labels(labels[:, None], np.ones((labels.size, 1), bool))
    return batch_of(one_hot, given, np.arange(labels.size))


@pytest.fixture(scope="module")
def celled() -> tuple[np.ndarray, np.ndarray]:
    """Binary labels and cells of 4,000 rows."""
    draw = np.random.default_rng(3)
    cell = draw.integers(0, 4, 4000)
    return (draw.random(4000) < np.array([0.02, 0.1, 0.3, 0.7])[cell]).astype(np.float64), cell


@pytest.mark.parametrize(
    ("fields", "repeat"),
    [
        ({"positive_weight": 8.0}, 1),
        ({"positive_weight": "balanced"}, 1),
        ({}, 5),
        ({"positive_weight": "balanced"}, 5),
        ({"positive_weight": 0.25}, 3),
    ],
)
def test_a_saturated_model_predicts_each_cells_rate(
    celled: tuple[np.ndarray, np.ndarray], fields: dict[str, Any], repeat: int
) -> None:
    labels, cell = celled
    known = LabelStatistics(observed=labels.size, mean=float(labels.mean()), positive_repeat=repeat)
    task = BinaryTaskConfig.model_validate(fields).build("click", known)
    copied = np.repeat(np.arange(labels.size), np.where(labels == 1, repeat, 1))
    weight = trained(cells(labels[copied], cell[copied]), {"click": task})["click"]
    predicted = task.predict(weight).numpy()
    rates = np.array([labels[cell == each].mean() for each in range(4)])
    np.testing.assert_allclose(predicted, rates, rtol=0, atol=1e-6)
    assert (np.abs(torch.sigmoid(weight).squeeze(-1).numpy() - rates) > 1e-3).all(), "without the correction"


@pytest.mark.parametrize("weights", [[1.0, 3.0, 10.0], "balanced"])
def test_class_weights_predict_each_cells_shares(weights: object) -> None:
    draw = np.random.default_rng(4)
    cell = draw.integers(0, 4, 3000)
    labels = np.minimum(draw.poisson(0.3 + 0.3 * cell), 2).astype(np.float64)
    counts = tuple(np.bincount(labels.astype(int), minlength=3).tolist())
    config = MulticlassTaskConfig.model_validate({"classes": (0, 1, 2), "class_weights": weights})
    task = config.build("rating", LabelStatistics(observed=3000, class_counts=counts))
    weight = trained(cells(labels, cell), {"rating": task})["rating"]
    shares = np.stack([np.bincount(labels[cell == each].astype(int), minlength=3) for each in range(4)]).astype(float)
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(task.predict(weight).numpy(), shares, rtol=0, atol=1e-6)
    assert np.abs(torch.softmax(weight, dim=1).numpy() - shares).max() > 0.05, "without the correction"


def test_positive_weight_is_scikit_learns_class_weight(world: World) -> None:
    labels = world.labels.values[:, 0]
    known = LabelStatistics(observed=ROWS, mean=float(labels.mean()))
    task = BinaryTaskConfig(positive_weight="balanced").build("click", known)
    batch = batch_of(world.features, Labels(labels[:, None], np.ones((ROWS, 1), bool)), np.arange(ROWS))
    weight = trained(batch, {"click": task})["click"]
    reference = LogisticRegression(class_weight="balanced", C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000)
    reference.fit(world.features, labels)
    np.testing.assert_allclose(weight.squeeze(-1).numpy(), reference.coef_[0], rtol=0, atol=1e-5)


def test_small_batches_are_weighed_as_the_whole_is() -> None:
    """Dividing by a batch's own sum of class weights would take weight from positives that meet."""
    draw = np.random.default_rng(0)
    labels = (draw.random(64 * 200) < 0.02).astype(np.float64)
    task = BinaryTaskConfig(positive_weight="balanced").build(
        "click", LabelStatistics(observed=labels.size, mean=float(labels.mean()))
    )
    logit = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    total = torch.zeros((), dtype=torch.float64)
    for piece in labels.reshape(200, 64):
        batch = cells(piece, np.zeros(64, int))
        sums, weights, _ = task_losses({"click": logit.expand(64, 1)}, batch, {"click": task})
        total = total + normalise(sums, weights, world_size=1).sum()
    total.backward()
    assert logit.grad is not None
    # At a logit of 0, balanced classes pull equally.
    assert abs(float(logit.grad)) / 200 < 1e-12
    assert float(total.detach()) / 200 == pytest.approx(np.log(2.0), rel=1e-12)


def test_validation_is_of_corrected_logits_and_weighs_nothing(world: World) -> None:
    found = with_sampling(statistics(world.labels), NEGATIVE, OVER)
    configs = {**CONFIGS, "like": BinaryTaskConfig(positive_weight=4.0)}
    tasks = {name: config.build(name, found[name]) for name, config in configs.items()}
    batch = batch_of(world.features, world.labels, np.arange(2000))
    logits = {name: batch.numeric @ torch.tensor([[0.3], [0.2], [-1.0]], dtype=torch.float64) for name in tasks}
    sums, weights, _ = validation_losses(logits, batch, tasks)
    for column, name in enumerate(("click", "like")):
        seen = batch.observed[:, column].numpy()
        expected = log_loss(batch.labels[:, column].numpy()[seen], tasks[name].predict(logits[name]).numpy()[seen])
        assert float(sums[column] / weights[column]) == pytest.approx(expected, rel=1e-9)
        assert float(weights[column]) == seen.sum()

    class Fixed(nn.Module):
        def forward(self, batch: Batch) -> dict[str, Tensor]:
            return {name: logits[name].to(batch.numeric.dtype) for name in logits}

    values = validate(Fixed(), [(batch, None)], tasks, torch.device("cpu"), "fp64")
    assert values["click/loss"] == pytest.approx(values["click/log_loss"], rel=1e-5)
    assert values["like/loss"] == pytest.approx(values["like/log_loss"], rel=1e-5)


def test_a_checkpoint_predicts_with_the_correction(tmp_path: Path) -> None:
    config = parse_config(
        {
            "name": "small",
            "features": {"repo": "feature_repo", "service": "s"},
            "training_set": {
                "spine": "spine",
                "split": {"by": "random", "validation": 0.1, "test": 0.1},
                "negative_sampling": {"task": "click", "keep": 0.1},
            },
            "tasks": {"click": {"type": "binary"}},
            "model": {"name": "shared_bottom", "bottom": [3], "tower": [2]},
        }
    )
    known = with_sampling(
        {"click": LabelStatistics(observed=100, mean=0.02)}, config.training_set.negative_sampling, None
    )
    schema = BatchSchema(vocabularies={}, numeric=("age",), tasks=("click",))
    model = config.model.build(schema, {"click": config.tasks["click"].build("click", known["click"])})
    context = ModelContext(
        training_set="abc",
        batch_schema=schema,
        preprocessing=fit(PreprocessingConfig(), (), pa.table({"age": [1.0]})),
        label_statistics=known,
    )
    save_checkpoint(tmp_path, config, context, model.state_dict(), {}, TrainingPosition(epoch=1, batch=0, step=0))
    batch = Batch(
        categorical=torch.zeros(5, 0, dtype=torch.int32),
        numeric=torch.randn(5, 1),
        labels=torch.zeros(5, 1),
        observed=torch.zeros(5, 1, dtype=torch.bool),
        sample_weight=torch.ones(5),
        row_id=torch.arange(5),
    )
    with torch.inference_mode():
        odds = model.eval()(batch)["click"].exp().squeeze(-1) * 0.1
    torch.testing.assert_close(Predictor.load(tmp_path).predict(batch)["click"], odds / (1 + odds))
