"""Steps that aggregate gradients where something is unusual: bf16, or no label at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mtl_ray.aggregation import AggregationContext, CAGradConfig, GradDropConfig, Place, UPGradConfig
from mtl_ray.aggregation.aggregation import AggregationSettings
from mtl_ray.models import MultiTaskModel
from mtl_ray.training.balance_record import LOOK_EVERY
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import FAMOWeightingConfig, StaticWeightingConfig, WeightingContext
from mtl_ray.weighting.settings import WeightingSettings
from tests.parity.balancing.balanced_steps import MODEL, Balance, build, global_batch, train_step
from tests.unit.models.task_sets import PLAIN


@pytest.mark.parametrize("on", ["representation", "shared"])
@pytest.mark.parametrize("config", [UPGradConfig(), CAGradConfig(), GradDropConfig()], ids=lambda c: c.name)
def test_a_batch_without_any_label_moves_nothing(config: AggregationSettings, on: Place) -> None:
    model = build()
    step, _, _ = train_step(Balance(aggregation=config, on=on), model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = global_batch(0)
    none = torch.zeros_like(batch.observed)
    step(replace(batch, observed=none, labels=torch.zeros_like(batch.labels)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    step(batch)
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("on", ["representation", "shared"])
def test_a_method_without_inner_products_has_its_cosines_looked_at_now_and_then(on: Place) -> None:
    read, _, _ = train_step(Balance(aggregation=UPGradConfig(), on=on), build())
    read(global_batch(0))
    expected = {name: value for name, value in read.balance.values().items() if name.startswith("balance/cosine/")}
    assert expected
    not_read, _, _ = train_step(Balance(aggregation=GradDropConfig(), on=on), build())
    not_read(global_batch(0))
    first = not_read.balance.values()
    for name, value in expected.items():
        assert first[name] == pytest.approx(value, abs=1e-9)
    for number in range(1, LOOK_EVERY):
        not_read(global_batch(number))
    assert {name: not_read.balance.values()[name] for name in expected} == {name: first[name] for name in expected}
    not_read(global_batch(LOOK_EVERY))
    assert any(not_read.balance.values()[name] != first[name] for name in expected)


@pytest.mark.parametrize("on", ["representation", "shared"])
def test_bf16_takes_about_the_step_of_fp32(on: Place) -> None:
    def moved(precision: str) -> torch.Tensor:
        torch.manual_seed(0)
        model: MultiTaskModel = MODEL.build(PLAIN.schema, PLAIN.tasks())
        before = torch.cat([parameter.detach().clone().flatten() for parameter in model.parameters()])
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
        weighting = StaticWeightingConfig().build(WeightingContext(dict.fromkeys(PLAIN.schema.tasks, 1.0)))
        aggregation = UPGradConfig().build(AggregationContext(PLAIN.schema.tasks))
        cpu = torch.device("cpu")
        step = TrainStep(model, PLAIN.tasks(), weighting, optimizer, schedule, None, precision, cpu, aggregation, on)
        step(PLAIN.batch(64))
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]) - before

    exact, rounded = moved("fp32"), moved("bf16")
    assert torch.isfinite(rounded).all()
    # bf16 has 8 bits: a few per mille of the gradient, more where it nearly cancels.
    assert float((exact - rounded).norm() / exact.norm()) < 0.05
    assert not torch.equal(exact, rounded)


def test_famos_look_at_the_losses_after_the_step_leaves_the_batch_norms_alone() -> None:
    def statistics(weighting: WeightingSettings) -> dict[str, torch.Tensor]:
        model = build(MODEL.model_copy(update={"norm": "batch"}))
        step, _, _ = train_step(Balance(weighting), model)
        step(global_batch(0))
        return {name: value for name, value in model.named_buffers() if "running" in name}

    expected = statistics(StaticWeightingConfig())
    assert expected
    for name, value in statistics(FAMOWeightingConfig(compare_on="same_batch")).items():
        assert torch.equal(value, expected[name]), name
