"""Architectures that follow the task graph against loops over rows, tasks and units."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mtl_ray.batch import Batch
from mtl_ray.models import MultiTaskModel
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing import AITMConfig, DBMTLConfig, ESCM2Config, ESMMConfig, SNRConfig, SoftSharingConfig
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, Task
from tests.parity.sharing.loops import ROWS, TOLERANCE, assert_logits, linear, mlp, randomised, softmax, weighted
from tests.parity.sharing.loops import sigmoid as sigma
from tests.parity.sharing.loops import tower as tower_of
from tests.unit.models.task_sets import GIVEN, PLAIN, SERIAL, TaskSet

NAMES = SERIAL.schema.tasks
ANCESTORS = {"purchase": ("click", "save", "cart"), "save": ("click",), "cart": ("click",), "click": (), "value": ()}
TOPOLOGICAL = ("click", "value", "save", "cart", "purchase")


def sampled_tasks() -> dict[str, Task]:
    """Clicks are sampled and weighed, purchases weighed."""
    tasks = SERIAL.tasks()
    statistics = LabelStatistics(observed=1000, mean=0.2, negative_keep=0.25, positive_repeat=1.5)
    tasks["click"] = BinaryTaskConfig(positive_weight=3.0).build("click", statistics)
    purchase = BinaryTaskConfig(given=GIVEN["purchase"], positive_weight="balanced", weight=0.5)
    tasks["purchase"] = purchase.build("purchase", LabelStatistics(observed=1000, mean=0.02))
    return tasks


SAMPLED = TaskSet("sampled", SERIAL.schema, sampled_tasks, SERIAL.batch)
SHIFT = {
    "click": math.log(1.5 * 3.0 / 0.25),
    "purchase": -math.log(0.02 / 0.98),
    "save": 0.0,
    "cart": 0.0,
}
"""What sampling and weights add to the log odds that are learnt."""


def test_dbmtl() -> None:
    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        shared = mlp(model.sharing.bottom, x[0])
        hidden: dict[str, Tensor] = {}
        for name in TOPOLOGICAL:
            index = NAMES.index(name)
            parts = [mlp(model.sharing.specific[index], shared), *(hidden[p] for p in GIVEN.get(name, ()))]
            hidden[name] = mlp(model.sharing.relation[index], torch.cat(parts))
        return [hidden[name] for name in NAMES]

    assert_logits(DBMTLConfig(bottom=(6,), specific=(5,), relation=(4, 3), tower=(4,)), SERIAL, reference)
    assert_logits(DBMTLConfig(bottom=(), specific=(5,), relation=(3,), tower=()), SERIAL, reference)


def test_aitm() -> None:
    def reference(model: MultiTaskModel, x: list[Tensor]) -> list[Tensor]:
        edges = [(parent, name) for name in NAMES for parent in GIVEN.get(name, ())]
        z: dict[str, Tensor] = {}
        for name in TOPOLOGICAL:
            index = NAMES.index(name)
            own = mlp(model.sharing.bottoms[index], x[0])
            arrived = [own]
            for parent in GIVEN.get(name, ()):
                arrived.append(mlp(model.sharing.transfers[edges.index((parent, name))], z[parent]))
            if len(arrived) == 1:
                z[name] = own
                continue
            unit = model.sharing.attention[str(index)]
            scores = [
                (linear(u, unit.key.weight) * linear(u, unit.query.weight)).sum() / math.sqrt(len(own)) for u in arrived
            ]
            z[name] = weighted(softmax(scores), [linear(u, unit.value.weight) for u in arrived])
        return [z[name] for name in NAMES]

    assert_logits(AITMConfig(bottom=(6, 5), tower=(4,)), SERIAL, reference)


def conditional_rates(model: MultiTaskModel, x: Tensor) -> dict[str, float]:
    """P(task | parents) of one row by name, of true rates."""
    rates = {}
    for name in GIVEN:
        logit = float(tower_of(model, name, mlp(model.sharing.bottom, x)).detach())
        rates[name] = sigma(logit if GIVEN[name] else logit - SHIFT[name])
    return rates


@pytest.mark.parametrize("config", [ESMMConfig(tower=(4,)), ESMMConfig(bottom=(6, 5), tower=(4,)), ESCM2Config()])
def test_esmm(config: ESMMConfig | ESCM2Config) -> None:
    model = randomised(config, SAMPLED)
    batch = SAMPLED.batch(ROWS, dtype=torch.float64)
    encoded = model.encoder(batch)
    found = model(batch)
    assert list(found) == list(NAMES)
    for row in range(ROWS):
        rates = conditional_rates(model, encoded[row])
        for name in GIVEN:
            product = rates[name]
            for ancestor in ANCESTORS[name]:
                product *= rates[ancestor]
            predicted = SAMPLED.tasks()[name].predict(found[name])[row]
            assert float(predicted.detach()) == pytest.approx(product, abs=1e-10)
            learnt = math.log(product) - math.log1p(-product) + SHIFT[name]
            assert float(found[name][row, 0].detach()) == pytest.approx(learnt, abs=1e-9)
        value = tower_of(model, "value", mlp(model.sharing.bottom, encoded[row]))
        torch.testing.assert_close(found["value"][row], value, rtol=0, atol=TOLERANCE)


def auxiliary(config: ModelSettings, tasks: TaskSet) -> tuple[MultiTaskModel, Batch, dict[str, float]]:
    """Auxiliary losses over a batch with a padding row, each as its sum / weight."""
    model = randomised(config, tasks)
    batch = tasks.batch(40, seed=2, dtype=torch.float64)
    row_id = batch.row_id.clone()
    row_id[3] = -1
    observed = batch.observed & (row_id >= 0).unsqueeze(1)
    batch = replace(batch, row_id=row_id, observed=observed, labels=torch.where(observed, batch.labels, 0.0))
    model.outputs.train()
    losses = model.auxiliary_losses(batch, model(batch))
    return model, batch, {name: float((loss.sum / loss.weight).detach()) for name, loss in losses.items()}


def row_weight(batch: Batch, row: int) -> float:
    """Of the rows before sampling: clicks were kept 1.5 times, others in one of four."""
    if batch.row_id[row] < 0:
        return 0.0
    click = NAMES.index("click")
    copies = 1.0
    if batch.observed[row, click]:
        copies = 1.5 if batch.labels[row, click] == 1.0 else 0.25
    return float(batch.sample_weight[row]) / copies


def cross_entropy(rate: float, label: float) -> float:
    return -math.log(rate) if label == 1.0 else -math.log1p(-rate)


@pytest.mark.parametrize("method", ["ips", "dr"])
def test_escm2_regularisers(method: str) -> None:
    config = ESCM2Config(
        method=method, regulariser_weight=0.3, imputation_weight=0.7, min_propensity=0.05, bottom=(6,), tower=(4,)
    )
    model, batch, found = auxiliary(config, SAMPLED)
    encoded = model.encoder(batch)
    logits = model(batch)
    expected = {}
    bounded = 0
    for name in ("purchase", "save", "cart"):
        column, above = NAMES.index(name), [NAMES.index(a) for a in ANCESTORS[name]]
        ips = robust = missed = total = 0.0
        for row in range(len(batch)):
            if not all(batch.observed[row, c] for c in (column, *above)):
                continue
            weight = row_weight(batch, row)
            rates = conditional_rates(model, encoded[row])
            propensity = math.prod(rates[ancestor] for ancestor in ANCESTORS[name])
            bounded += propensity < 0.05
            reached = all(batch.labels[row, c] == 1.0 for c in above)
            inverse = 1.0 / max(propensity, 0.05) if reached else 0.0
            error = cross_entropy(rates[name], float(batch.labels[row, column]))
            ips += weight * inverse * error
            total += weight
            if method == "dr":
                imputed = float(logits[f"{name}/imputed"][row, 0].detach())
                assert imputed > 0
                robust += weight * (imputed + inverse * (error - imputed))
                missed += weight * inverse * (error - imputed) ** 2
        scale = 0.5 if name == "purchase" else 1.0  # the task's weight
        if method == "ips":
            expected[f"{name}/ips"] = 0.3 * scale * ips / total
        else:
            expected[f"{name}/dr"] = 0.3 * scale * robust / total
            expected[f"{name}/imputation"] = 0.7 * scale * missed / total
    assert bounded > 0
    assert found == pytest.approx(expected, abs=1e-10)


def test_imputed_errors_are_those_of_the_imputation_tower() -> None:
    model = randomised(ESCM2Config(bottom=(6,), tower=(4,)), SERIAL)
    batch = SERIAL.batch(5, dtype=torch.float64)
    model.outputs.train()
    found = model(batch)["purchase/imputed"]
    module = model.outputs.imputation["task_purchase"]
    for row, x in enumerate(model.encoder(batch)):
        score = linear(mlp(module.mlp, mlp(model.sharing.bottom, x)), module.head.weight, module.head.bias)
        torch.testing.assert_close(found[row], torch.log1p(torch.exp(score)), rtol=0, atol=TOLERANCE)


def test_propensities_are_constants_to_the_regularisers() -> None:
    """No gradient reaches the click tower, whose probability is all of a propensity, nor does the imputation's loss
    reach the conversion's tower."""
    model = randomised(ESCM2Config(bottom=(6,), tower=(4,)), SERIAL)
    model.outputs.train()
    batch = SERIAL.batch(64, dtype=torch.float64)
    losses = model.auxiliary_losses(batch, model(batch))
    losses["save/dr"].sum.backward(retain_graph=True)
    assert all(p.grad is None for p in model.towers["task_click"].parameters())
    assert all(torch.count_nonzero(p.grad) > 0 for p in model.towers["task_save"].parameters())
    model.zero_grad()
    losses["save/imputation"].sum.backward()
    assert all(p.grad is None for p in model.towers["task_save"].parameters())
    assert all(torch.count_nonzero(p.grad) > 0 for p in model.outputs.imputation["task_save"].parameters())


def test_the_calibrator_of_aitm() -> None:
    model, batch, found = auxiliary(AITMConfig(bottom=(6,), tower=(4,), calibrator_weight=0.6), SAMPLED)
    logits = model(batch)
    total = weights = 0.0
    for row in range(len(batch)):
        rates = {name: sigma(float(logits[name][row, 0].detach()) - SHIFT[name]) for name in GIVEN}
        above = sum(max(rates[name] - rates[parent], 0.0) for name in GIVEN for parent in GIVEN[name])
        total += row_weight(batch, row) * above
        weights += row_weight(batch, row)
    assert found["calibrator"] > 0
    assert found == pytest.approx({"calibrator": 0.6 * total / weights}, abs=1e-10)


def test_the_distance_of_soft_sharing() -> None:
    model, _, found = auxiliary(SoftSharingConfig(bottom=(6, 5), norm="layer", distance_weight=0.1), SERIAL)
    pairs = [(first, second) for second in range(5) for first in range(second)]
    total = 0.0
    for first, second in pairs:
        bottoms = model.sharing.bottoms
        for p, q in zip(bottoms[first].parameters(), bottoms[second].parameters(), strict=True):
            total += sum(
                (float(a) - float(b)) ** 2 for a, b in zip(p.detach().flatten(), q.detach().flatten(), strict=True)
            )
    assert found == pytest.approx({"parameter_distance": 0.1 * total / len(pairs)}, rel=1e-12)


def test_the_open_gates_of_snr() -> None:
    model, _, found = auxiliary(SNRConfig(num_experts=3, expert=(6, 5), l0_weight=0.1), PLAIN)
    log_alphas = [float(a) for name, p in model.named_parameters() if name.endswith("log_alpha") for a in p.detach()]
    assert len(log_alphas) == 3 * 3 + 3 * 3
    expected = sum(sigma(log_alpha - 2 / 3 * math.log(0.1 / 1.1)) for log_alpha in log_alphas)
    assert found == pytest.approx({"open_gates": 0.1 * expected}, rel=1e-12)
