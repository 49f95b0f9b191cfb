"""Losses and predictions of every task type against closed forms, torch, scipy and scikit-learn, in float64.

Tolerances: 1e-10 relative where both sides are closed forms; what is found by minimising says its own.
"""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from scipy.optimize import minimize, minimize_scalar
from sklearn.metrics import cohen_kappa_score, mean_pinball_loss, mean_tweedie_deviance
from torch import Tensor

from mtl_ray.metrics import GiniMetrics, OrdinalMetrics
from mtl_ray.schema import DurationGroups, LabelStatistics
from mtl_ray.tasks import (
    BinaryTaskConfig,
    MulticlassTaskConfig,
    NextItemTaskConfig,
    OrdinalTaskConfig,
    RegressionTaskConfig,
    Task,
    TaskConfig,
    ValueTaskConfig,
    WatchTimeTaskConfig,
)

EXACT = {"rtol": 1e-10, "atol": 1e-12}
RANDOM = np.random.default_rng(0)
PRICES = np.array([0.0, 0.0, 0.0, 1.0, 3.0, 10.0, 250.0])
AMOUNTS = np.where(RANDOM.random(1001) < 0.3, 0.0, RANDOM.lognormal(2, 0.7, 1001))


def statistics_of(labels: np.ndarray, transform: str = "none") -> LabelStatistics:
    learnt, above = np.log1p(labels) if transform == "log1p" else labels, np.log(labels[labels > 0])
    return LabelStatistics(
        observed=len(labels),
        mean=float(labels.mean()),
        transformed_mean=float(learnt.mean()),
        transformed_std=float(learnt.std()),
        quantiles=tuple(np.quantile(labels, np.linspace(0, 1, 101)).tolist()),
        positive=len(above),
        log_mean=float(above.mean()),
        log_std=float(above.std()),
    )


RATE = LabelStatistics(observed=1000, mean=0.1)
CLASSES = LabelStatistics(observed=60, class_counts=(5, 10, 15, 30))
GROUPS = DurationGroups(edges=(10.0, 60.0), quantiles=((0, 1, 2), (0, 20, 40), (3, 30, 300), (0, 10, 300)))
DURATION = {"duration": torch.tensor([5.0, 10.0, 100.0, math.nan, 59.9, 60.0, 1.0], dtype=torch.float64)}

Case = tuple[Task, Tensor, dict[str, Tensor]]


def float64(values: Any) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def regression(loss: Any, **config: Any) -> Task:
    statistics = statistics_of(AMOUNTS, config.get("transform", "none"))
    return RegressionTaskConfig.model_validate({"loss": loss, **config}).build("value", statistics)


def binary(**config: Any) -> Task:
    return BinaryTaskConfig.model_validate(config).build("click", RATE)


def every_case() -> dict[str, Case]:
    clicks, classes, prices = float64([0, 1, 0, 1, 1, 0, 1]), float64([0, 1, 2, 3, 3, 2, 1]), float64(PRICES)
    four = {"classes": ("a", "b", "c", "d")}
    offset = {"offset": "exposure"}
    exposure = {"exposure": float64([0.0, 1.0, -1.0, 0.5, 2.0, 0.1, 0.0])}
    cases: dict[str, Case] = {
        "bce": (binary(), clicks, {}),
        "bce smoothed": (binary(label_smoothing=0.2), clicks, {}),
        "focal": (binary(loss="focal"), clicks, {}),
        "focal alpha smoothed": (
            binary(loss={"name": "focal", "gamma": 0.5, "alpha": 0.25}, label_smoothing=0.1),
            clicks,
            {},
        ),
        "multiclass smoothed": (
            MulticlassTaskConfig(**four, label_smoothing=0.1).build("tab", CLASSES),
            classes,
            {},
        ),
        "next item": (
            NextItemTaskConfig(user=("user_id",), item=("item_id",), dim=2).build("next", CLASSES),
            clicks,
            {},
        ),
        "ordinal": (OrdinalTaskConfig(**four).build("rating", CLASSES), classes, {}),
        "value": (ValueTaskConfig().build("value", statistics_of(AMOUNTS)), prices, {}),
        "poisson": (regression("poisson"), prices, {}),
        "poisson offset": (regression("poisson", **offset), prices, exposure),
        "tweedie": (regression("tweedie"), prices, {}),
        "tweedie offset": (regression({"name": "tweedie", "power": 1.2}, **offset), prices, exposure),
    }
    for loss in ("squared", "absolute", "huber", {"name": "quantile", "level": 0.9}):
        name = loss if isinstance(loss, str) else "quantile"
        cases[name] = (regression(loss), prices, {})
        cases[f"{name} log1p"] = (regression(loss, transform="log1p"), prices, {})
    for kind in ("squared", "bce"):
        task = WatchTimeTaskConfig(duration="duration", loss=kind).build(
            "watch", LabelStatistics(observed=7, duration_groups=GROUPS)
        )
        cases[f"watch time {kind}"] = (task, prices, DURATION)
    return cases


CASES = every_case()
every_loss = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@every_loss
def test_gradients_equal_differences(case: Case) -> None:
    task, label, inputs = case
    logits = float64(RANDOM.normal(size=(len(label), task.num_outputs))).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: task.loss(z, label, inputs), (logits,), atol=1e-6, rtol=1e-5)
    assert torch.autograd.gradcheck(lambda z: task.held_out_loss(z, label, inputs), (logits,), atol=1e-6, rtol=1e-5)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_losses_and_gradients_are_finite_far_out(case: Case, dtype: torch.dtype, size: float) -> None:
    task, label, inputs = case
    logits = torch.full((len(label), task.num_outputs), size, dtype=dtype, requires_grad=True)
    loss = task.loss(logits, label.float(), {name: value.float() for name, value in inputs.items()})
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.isfinite(loss).all()
    loss.sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(task.predict(logits.detach(), inputs)).all()
    assert torch.isfinite(task.held_out_loss(logits.detach(), label.float(), inputs)).all()


# No bias stands behind the two towers of a next-item task.
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case[2] and name != "next item"])
def test_the_initial_bias_is_where_the_loss_of_all_rows_is_lowest(name: str) -> None:
    task, _, _ = CASES[name]
    rows = rows_of_the_statistics(task)

    def mean_loss(bias: np.ndarray) -> float:
        logits = float64(bias).expand(len(rows), -1)
        return float(task.loss(logits, rows).mean())

    start = task.initial_bias().double().numpy()
    best = minimize(mean_loss, start + 0.3, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-11})
    # Softmax has one output too many, so the minimum is not found exactly; quantiles lie on a grid of 101 ranks.
    assert mean_loss(start) <= best.fun + 1e-4 * abs(best.fun)
    assert mean_loss(start + 0.1) > mean_loss(start) or name.startswith("multiclass")


def rows_of_the_statistics(task: Task) -> Tensor:
    if task.name == "click":
        return float64([1.0] * 100 + [0.0] * 900)
    if task.name in ("tab", "rating"):
        return float64(np.repeat(np.arange(4), (5, 10, 15, 30)))
    return float64(AMOUNTS)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_loss_is_that_of_its_paper(gamma: float, alpha: float | None) -> None:
    label = RANDOM.integers(0, 2, 50)
    logit = RANDOM.normal(size=50) * 3
    p = 1 / (1 + np.exp(-logit))
    p_t = np.where(label == 1, p, 1 - p)
    factor = 1.0 if alpha is None else np.where(label == 1, alpha, 1 - alpha)
    expected = -factor * (1 - p_t) ** gamma * np.log(p_t)
    task = binary(loss={"name": "focal", "gamma": gamma, "alpha": alpha})
    torch.testing.assert_close(task.loss(float64(logit)[:, None], float64(label)), float64(expected), **EXACT)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("truth", [0.001, 0.2, 0.5, 0.97])
def test_focal_loss_predicts_the_true_probability(
    gamma: float, alpha: float | None, smoothing: float, truth: float
) -> None:
    """Where the expected loss is lowest, predictions are the truth, smoothed where the labels were."""
    task = binary(loss={"name": "focal", "gamma": gamma, "alpha": alpha}, label_smoothing=smoothing)

    def expected_loss(z: float) -> float:
        loss = task.loss(torch.full((2, 1), z, dtype=torch.float64), float64([1, 0]))
        return float(truth * loss[0] + (1 - truth) * loss[1])

    best = minimize_scalar(expected_loss, bounds=(-20, 20), method="bounded", options={"xatol": 1e-10})
    predicted = float(task.predict(torch.tensor([[best.x]], dtype=torch.float64)))
    assert predicted == pytest.approx((1 - smoothing) * truth + smoothing / 2, rel=2e-5)


def test_focal_correction_is_the_closed_form_of_its_paper() -> None:
    gamma = 2.0
    z = float64(np.linspace(-10, 10, 401))
    p = torch.sigmoid(z)

    def h(v: Tensor, rest: Tensor) -> Tensor:
        return v / (rest**gamma - gamma * rest ** (gamma - 1) * v * torch.log(v))

    q = torch.sigmoid(-z)
    truth = h(p, q) / (h(p, q) + h(q, p))
    task = binary(loss="focal")
    torch.testing.assert_close(task.predict(z[:, None]), truth, rtol=1e-10, atol=0)
    corrected = task.corrected(float64(np.linspace(-1e4, 1e4, 20_001))[:, None]).squeeze(1)
    assert (corrected.diff() > 0).all()


def test_focal_validation_measures_cross_entropy_of_the_predictions() -> None:
    task = binary(loss="focal", label_smoothing=0.2)
    logits, label = float64(RANDOM.normal(size=(20, 1))), float64(RANDOM.integers(0, 2, 20))
    expected = F.binary_cross_entropy(task.predict(logits), label, reduction="none")
    torch.testing.assert_close(task.held_out_loss(logits, label), expected, **EXACT)


def test_smoothed_cross_entropies_equal_torch() -> None:
    logits, label = float64(RANDOM.normal(size=(20, 1))), float64(RANDOM.integers(0, 2, 20))
    # Of two classes, logits (0, z), smoothing spreads s / 2 to each.
    both = torch.cat([torch.zeros_like(logits), logits], dim=1)
    expected = F.cross_entropy(both, label.long(), reduction="none", label_smoothing=0.3)
    torch.testing.assert_close(binary(label_smoothing=0.3).loss(logits, label), expected, **EXACT)
    task = MulticlassTaskConfig(classes=(1, 2, 3, 4), label_smoothing=0.3).build("tab", CLASSES)
    logits, label = float64(RANDOM.normal(size=(20, 4))), float64(RANDOM.integers(0, 4, 20))
    target = 0.7 * F.one_hot(label.long(), 4).double() + 0.3 / 4
    expected = -(target * torch.log_softmax(logits, 1)).sum(1)
    torch.testing.assert_close(task.loss(logits, label), expected, **EXACT)
    torch.testing.assert_close(
        task.held_out_loss(logits, label), F.cross_entropy(logits, label.long(), reduction="none"), **EXACT
    )


def test_ordinal_loss_is_that_of_a_loop_over_conditional_ranks() -> None:
    task = OrdinalTaskConfig(classes=(1, 2, 3, 4)).build("rating", CLASSES)
    logits, label = RANDOM.normal(size=(40, 3)) * 2, RANDOM.integers(0, 4, 40)
    expected, probabilities = [], []
    for row, y in zip(logits, label, strict=True):
        total = 0.0
        for k in range(3):
            if y > k - 1:
                f = 1 / (1 + math.exp(-row[k]))
                total -= math.log(f) if y > k else math.log(1 - f)
        expected.append(total)
        above = [1.0, *np.cumprod(1 / (1 + np.exp(-row))), 0.0]
        probabilities.append([above[k] - above[k + 1] for k in range(4)])
    loss = task.loss(float64(logits), float64(label))
    torch.testing.assert_close(loss, float64(expected), **EXACT)
    predicted = task.predict(float64(logits))
    torch.testing.assert_close(predicted, float64(probabilities), **EXACT)
    torch.testing.assert_close(loss, -torch.log(predicted[range(40), label]), **EXACT)
    torch.testing.assert_close(
        task.predict(task.initial_bias().double()[None]), float64([[5, 10, 15, 30]]) / 60, rtol=1e-6, atol=1e-6
    )


def test_ordinal_metrics_equal_scikit_learn() -> None:
    probabilities, label = RANDOM.dirichlet(np.ones(5) * 0.5, size=300), RANDOM.integers(0, 5, 300)
    median = (np.cumsum(probabilities, axis=1) < 0.5).sum(axis=1)
    whole = OrdinalMetrics(5)
    for part in np.array_split(np.arange(300), 4):
        metric = OrdinalMetrics(5)
        metric.update(probabilities[part], label[part])
        whole.merge(metric)
    values = whole.compute()
    assert values["quadratic_kappa"] == pytest.approx(cohen_kappa_score(label, median, weights="quadratic"), abs=1e-12)
    assert values["class_mae"] == pytest.approx(np.abs(label - median).mean(), abs=1e-12)


def standardised(label: np.ndarray) -> np.ndarray:
    return (label - AMOUNTS.mean()) / AMOUNTS.std()


def test_regression_losses_equal_scikit_learn_and_torch() -> None:
    output, label = RANDOM.normal(size=7), float64(PRICES)
    logits, target = float64(output)[:, None], standardised(PRICES)

    def ours(loss: Any) -> float:
        return float(regression(loss).loss(logits, label).mean())

    assert ours("squared") == pytest.approx(np.mean((output - target) ** 2), rel=1e-10)
    assert ours("absolute") == pytest.approx(np.abs(output - target).mean(), rel=1e-10)
    for level in (0.1, 0.5, 0.9):
        expected = mean_pinball_loss(target, output, alpha=level)
        assert ours({"name": "quantile", "level": level}) == pytest.approx(expected, rel=1e-10)
    for delta in (0.2, 1.0):
        error = np.abs(output - target)
        expected = np.where(error <= delta, error**2 / 2, delta * (error - delta / 2)).mean()
        assert ours({"name": "huber", "delta": delta}) == pytest.approx(expected, rel=1e-10)


def test_poisson_and_tweedie_losses_equal_deviances_but_for_a_constant() -> None:
    label = np.array([0.0, 0.0, 1.0, 2.0, 7.0, 30.0])
    one, other = RANDOM.normal(size=6), RANDOM.normal(size=6)
    for loss, power in (("poisson", 1.0), ({"name": "tweedie", "power": 1.3}, 1.3), ({"name": "tweedie"}, 1.5)):
        task = regression(loss)
        losses = [float(task.loss(float64(z)[:, None], float64(label)).mean()) for z in (one, other)]
        deviances = [mean_tweedie_deviance(label, np.exp(z), power=power) for z in (one, other)]
        assert 2 * (losses[0] - losses[1]) == pytest.approx(deviances[0] - deviances[1], rel=1e-10)


def test_poisson_loss_equals_scipy_and_torch() -> None:
    label, z = np.array([0, 1, 4, 9]), RANDOM.normal(size=4)
    exposure = RANDOM.normal(size=4)
    task = regression("poisson", offset="exposure")
    ours = task.loss(float64(z)[:, None], float64(label), {"exposure": float64(exposure)}).numpy()
    expected = -stats.poisson.logpmf(label, np.exp(z + exposure)) - [math.lgamma(k + 1) for k in label]
    np.testing.assert_allclose(ours, expected, rtol=1e-10)
    torch.testing.assert_close(
        regression("poisson").loss(float64(z)[:, None], float64(label)),
        F.poisson_nll_loss(float64(z), float64(label), reduction="none"),
        **EXACT,
    )
    predicted = task.predict(float64(z)[:, None], {"exposure": float64(exposure)}).numpy()
    np.testing.assert_allclose(predicted, np.exp(z + exposure), rtol=1e-12)


@pytest.mark.parametrize("transform", ["none", "log1p"])
def test_quantile_and_absolute_losses_start_at_the_labels_quantile(transform: str) -> None:
    labels = np.sort(RANDOM.exponential(20, size=1001))
    statistics = statistics_of(labels, transform)
    for loss, level in (("absolute", 0.5), ({"name": "quantile", "level": 0.9}, 0.9)):
        for normalize in (True, False):
            task = RegressionTaskConfig.model_validate(
                {"loss": loss, "transform": transform, "normalize": normalize}
            ).build("value", statistics)
            predicted = float(task.predict(task.initial_bias()[None]))
            assert predicted == pytest.approx(np.quantile(labels, level), rel=1e-5)


def test_value_loss_is_the_likelihood_of_scipys_lognormal() -> None:
    task = ValueTaskConfig().build("value", statistics_of(AMOUNTS))
    logits = RANDOM.normal(size=(7, 3))
    p, mu, sigma = 1 / (1 + np.exp(-logits[:, 0])), logits[:, 1], np.log1p(np.exp(logits[:, 2]))
    amount = np.where(PRICES > 0, PRICES, 1.0)
    density = stats.lognorm.logpdf(amount, s=sigma, scale=np.exp(mu))
    expected = np.where(PRICES > 0, -np.log(p) - density, -np.log(1 - p))
    np.testing.assert_allclose(task.loss(float64(logits), float64(PRICES)).numpy(), expected, rtol=1e-10)
    mean = p * stats.lognorm.mean(s=sigma, scale=np.exp(mu))
    np.testing.assert_allclose(task.predict(float64(logits)).numpy(), mean, rtol=1e-10)


def test_quantile_metrics_equal_scikit_learn() -> None:
    label, predicted = RANDOM.exponential(size=100), RANDOM.exponential(size=100)
    weight = RANDOM.random(100)
    (_, metric) = regression({"name": "quantile", "level": 0.8}).metrics(grouped=False).values()
    metric.update(predicted, label, weight=weight)
    values = metric.compute()
    expected = mean_pinball_loss(label, predicted, alpha=0.8, sample_weight=weight)
    assert values["pinball"] == pytest.approx(expected, rel=1e-12)
    assert values["coverage"] == pytest.approx(weight[label <= predicted].sum() / weight.sum(), rel=1e-12)


def test_every_type_has_a_case() -> None:
    assert {type(task.config) for task, _, _ in CASES.values()} == set(get_args(get_args(TaskConfig)[0]))


def test_normalised_gini_equals_a_loop() -> None:
    label = np.where(RANDOM.random(200) < 0.6, 0.0, RANDOM.lognormal(1, 1, 200))
    score = np.round(label * 0.2 + RANDOM.normal(size=200), 1)

    def gini(order_by: np.ndarray) -> float:
        # Every pair of rows: the area is the mean over pairs of the label difference in the order of the scores.
        total = 0.0
        for i in range(len(label)):
            total += (np.sign(order_by[i] - order_by) * (label[i] - label)).sum()
        return total

    expected = gini(score) / gini(label)
    whole = GiniMetrics()
    for part in np.array_split(np.arange(200), 3):
        metric = GiniMetrics()
        metric.update(score[part], label[part])
        whole.merge(metric)
    assert whole.compute()["normalized_gini"] == pytest.approx(expected, rel=1e-10)
    weight = RANDOM.integers(0, 3, 200).astype(float)
    weighted, repeated = GiniMetrics(), GiniMetrics()
    weighted.update(score, label, weight=weight)
    repeated.update(np.repeat(score, weight.astype(int)), np.repeat(label, weight.astype(int)))
    assert weighted.compute()["normalized_gini"] == pytest.approx(repeated.compute()["normalized_gini"], rel=1e-10)
