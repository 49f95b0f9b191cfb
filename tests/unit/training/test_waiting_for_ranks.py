"""A step that reads no loss of the global batch sends its weights before the model runs, and waits for nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from mtl_ray import distributed
from mtl_ray.aggregation import UPGradConfig
from mtl_ray.models.sharing import MMoEConfig
from mtl_ray.weighting import FAMOWeightingConfig, StaticWeightingConfig, UncertaintyWeightingConfig
from tests.parity.balancing.balanced_steps import MODEL, WEIGHTINGS, Balance, build, global_batch, train_step

EARLY = ["send", "model", "wait"]
LATE = ["model", "send", "wait"]


def order(monkeypatch: pytest.MonkeyPatch, balance: Balance, model: MMoEConfig = MODEL) -> list[str]:
    """What one step does; `model` is a forward pass of a part."""
    seen: list[str] = []
    start_sum = distributed.start_sum

    def noted(tensor: Tensor) -> Callable[[], Tensor]:
        seen.append("send")
        wait = start_sum(tensor)

        def waited() -> Tensor:
            seen.append("wait")
            return wait()

        return waited

    monkeypatch.setattr(distributed, "start_sum", noted)
    built = build(model)
    built.register_forward_hook(lambda *_: seen.append("model"))
    step, _, _ = train_step(balance, built)
    step(global_batch(0))
    return seen


@pytest.mark.parametrize("member", WEIGHTINGS, ids=lambda member: str(member.model_fields["name"].default))
def test_weights_go_first_where_no_loss_is_read(monkeypatch: pytest.MonkeyPatch, member: type) -> None:
    balance = Balance(member())
    _, weighting, _ = train_step(balance, build())
    assert order(monkeypatch, balance)[:3] == (LATE if weighting.reads_losses else EARLY)


def test_every_part_runs_once_where_no_loss_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert order(monkeypatch, Balance(parts=3)) == [*EARLY, "model", "model"]
    assert (
        order(monkeypatch, Balance(FAMOWeightingConfig(), parts=3)) == ["model"] * 3 + ["send", "wait"] + ["model"] * 3
    )


@pytest.mark.parametrize(
    ("balance", "model"),
    [
        (Balance(aggregation=UPGradConfig()), MODEL),
        (Balance(StaticWeightingConfig()), MMoEConfig(num_experts=3, expert=(6,), tower=(4,), load_balance=0.1)),
        (Balance(UncertaintyWeightingConfig()), MODEL),
    ],
    ids=["aggregation", "auxiliary loss", "learnt weights"],
)
def test_losses_that_are_read_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, balance: Balance, model: MMoEConfig
) -> None:
    assert order(monkeypatch, balance, model)[:3] == LATE
