"""Temperature, expert dropout and load balance of every architecture with gates, and the gates as they are read out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mtl_ray.models.gate import Gate, Gating
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing.gated import GatedSettings, GatedSharing
from mtl_ray.tasks.losses import task_losses
from mtl_ray.training.objective import combined, packed
from tests.parity.sharing.loops import randomised
from tests.unit.models.cases import MEMBERS, name_of
from tests.unit.models.task_sets import PLAIN

GATED = [member for member in MEMBERS if issubclass(member, GatedSettings)]
PLAIN_GATES = {
    "omoe": ["shared gate"],
    "mmoe": ["click", "rating", "value"],
    "cgc": ["click", "rating", "value"],
    "stem": ["click", "rating", "value"],
    "ple": [
        *("level 1/click", "level 1/rating", "level 1/value", "level 1/shared gate"),
        *("level 2/click", "level 2/rating", "level 2/value"),
    ],
    "adatt": [
        *("level 1/click", "level 1/rating", "level 1/value", "level 1/shared gate"),
        *("level 2/click", "level 2/rating", "level 2/value"),
    ],
    "home": [
        *("level 1/group 1", "level 1/group 2", "level 1/group 3", "level 1/shared gate"),
        *("level 2/click", "level 2/rating", "level 2/value"),
    ],
}
every_gated = pytest.mark.parametrize("member", GATED, ids=[name_of(member.model_construct()) for member in GATED])


def test_the_architectures_with_gates() -> None:
    assert {name_of(member.model_construct()) for member in GATED} == set(PLAIN_GATES)


@every_gated
def test_gates_are_distributions_over_experts_by_name(member: type[GatedSettings]) -> None:
    model = randomised(member(), PLAIN)
    gates = model.gates(PLAIN.batch(9, dtype=torch.float64))
    assert list(gates) == PLAIN_GATES[name_of(member.model_construct())]
    for gate in gates.values():
        assert gate.shape[0] == 9
        assert gate.shape[1] > 1
        torch.testing.assert_close(gate.sum(dim=1), torch.ones(9, dtype=torch.float64))
        assert gate.std(dim=0).min() > 0


@pytest.mark.parametrize("member", [m for m in MEMBERS if m not in GATED], ids=lambda m: m.__name__)
@pytest.mark.parametrize("key", ["gate_temperature", "expert_dropout", "load_balance"])
def test_an_architecture_without_gates_has_neither_gates_nor_their_settings(
    member: type[ModelSettings], key: str
) -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        member.model_validate({key: 0.5})
    assert not issubclass(member, GatedSettings)


@every_gated
def test_a_temperature_divides_the_scores(member: type[GatedSettings]) -> None:
    batch = PLAIN.batch(9, dtype=torch.float64)
    name = PLAIN_GATES[name_of(member.model_construct())][0]
    cold = randomised(member(gate_temperature=0.25), PLAIN).gates(batch)[name]
    usual = randomised(member(), PLAIN).gates(batch)[name]
    expected = usual.pow(4) / usual.pow(4).sum(dim=1, keepdim=True)
    torch.testing.assert_close(cold, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dropout", [0.3, 0.9])
def test_left_out_experts_leave_a_distribution_over_the_others(dropout: float) -> None:
    torch.manual_seed(0)
    gating = Gating(temperature=0.5, expert_dropout=dropout)
    score = torch.randn(4000, 4, dtype=torch.float64)
    used, whole = gating.thinned(score), gating.weights(score)
    kept = used > 0
    assert kept.any(dim=1).all()
    torch.testing.assert_close(used, torch.where(kept, whole, 0.0) / (whole * kept).sum(dim=1, keepdim=True))
    # All would be left out with probability p^4, and one of the four then stays.
    expected = 1 - dropout + dropout**4 / 4
    torch.testing.assert_close(kept.double().mean(dim=0), torch.full((4,), expected).double(), rtol=0, atol=0.03)


def test_expert_dropout_is_for_training_and_not_in_the_read_out() -> None:
    torch.manual_seed(0)
    gate = Gate(4, 3, Gating(expert_dropout=0.5))
    x, experts = torch.randn(50, 3), torch.eye(4).unsqueeze(1).expand(4, 50, 4)
    trained = gate(x, experts)
    assert (trained.output == 0).any()
    torch.testing.assert_close(trained.gate, torch.full((50, 4), 0.25))
    assert torch.equal(gate.eval()(x, experts).output, trained.gate)


@every_gated
def test_expert_dropout_changes_training_alone(member: type[GatedSettings]) -> None:
    model = randomised(member(expert_dropout=0.5, norm="none"), PLAIN)
    batch = PLAIN.batch(9, dtype=torch.float64)
    usual = randomised(member(norm="none"), PLAIN)(batch)
    assert torch.equal(model(batch)["click"], usual["click"])
    model.train()
    first, second = model(batch)["click"], model(batch)["click"]
    assert not torch.equal(first, second)
    assert torch.isfinite(first).all()


@every_gated
def test_the_load_balance_is_that_of_shazeer_over_real_rows(member: type[GatedSettings]) -> None:
    model = randomised(member(load_balance=0.5), PLAIN)
    assert isinstance(model.sharing, GatedSharing)
    model.sharing.training = True
    batch = PLAIN.batch(20, dtype=torch.float64)
    batch = replace(batch, row_id=torch.where(torch.arange(20) < 17, batch.row_id, -1))
    gates = model.gates(batch)
    each = []
    for gate in gates.values():
        importance = [float(gate[:17, expert].sum()) for expert in range(gate.shape[1])]
        mean = sum(importance) / len(importance)
        variance = sum((value - mean) ** 2 for value in importance) / len(importance)
        each.append(variance / mean**2)
    logits = model(batch)
    assert all("/" in name for name in list(logits)[3:])
    added = model.auxiliary_losses(batch, logits)
    parts = task_losses(logits, batch, PLAIN.tasks())
    losses = combined(parts, tuple(added.values()), packed(parts, tuple(added.values())), world_size=1)
    assert list(added) == ["load_balance"]
    assert float(losses.auxiliary.detach()) == pytest.approx(0.5 * sum(each) / len(each), abs=1e-12)
    model.zero_grad()
    losses.auxiliary.sum().backward()
    slope = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    balance = sum(gate.shape[1] * gate[:17].mean(dim=0).square().sum() for gate in model.gates(batch).values())
    assert isinstance(balance, torch.Tensor)
    (0.5 * balance / len(gates)).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(slope[name], parameter.grad, rtol=0, atol=1e-11)


def test_a_batch_of_padding_has_no_load_balance() -> None:
    member = next(member for member in GATED if name_of(member.model_construct()) == "mmoe")
    model = randomised(member(load_balance=0.5), PLAIN).train()
    batch = PLAIN.batch(4, dtype=torch.float64)
    batch = replace(batch, row_id=torch.full((4,), -1), observed=torch.zeros_like(batch.observed))
    logits = model(batch)
    parts, added = task_losses(logits, batch, PLAIN.tasks()), tuple(model.auxiliary_losses(batch, logits).values())
    losses = combined(parts, added, packed(parts, added), world_size=1)
    assert losses.auxiliary.tolist() == [0.0]
    losses.auxiliary.sum().backward()
    assert all(p.grad is None or torch.count_nonzero(p.grad) == 0 for p in model.parameters())
