"""Every weighting and aggregation takes the same steps on 1, 2 and 3 processes with the same global batches.

Ranks have unequal numbers of rows, of one task some rank has no label, and in one step no rank has any of another.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from tests.parity.balancing.balanced_steps import Balance, all_balances, build, global_batch, share, train_step, trained

TOLERANCE = 1e-8
BALANCES = all_balances()


def on_rank(rank: int, ranks: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    torch.save({balance.name: trained(balance, rank, ranks) for balance in BALANCES}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def ranks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, dict[str, Tensor]]]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    mp.spawn(on_rank, args=(request.param, str(folder)), nprocs=request.param)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(request.param)]


@pytest.fixture(scope="module")
def alone() -> dict[str, dict[str, Tensor]]:
    return {balance.name: trained(balance, 0, 1) for balance in BALANCES}


@pytest.mark.parametrize("name", [balance.name for balance in BALANCES])
def test_ranks_take_the_steps_of_one_process(
    name: str, alone: dict[str, dict[str, Tensor]], ranks: list[dict[str, dict[str, Tensor]]]
) -> None:
    for rank in ranks:
        for key, value in alone[name].items():
            # The Nash factors are in units of 1 / length, thousands here.
            relative = 1e-8 if key == "aggregation.last" else 0.0
            torch.testing.assert_close(
                rank[name][key], value, rtol=relative, atol=TOLERANCE, equal_nan=True, msg=f"{name} {key}"
            )
            assert torch.equal(rank[name][key].nan_to_num(), ranks[0][name][key].nan_to_num()), key


@pytest.mark.parametrize("name", [balance.name for balance in BALANCES])
def test_it_is_not_the_plain_sum(name: str, alone: dict[str, dict[str, Tensor]]) -> None:
    """Guards the test above, which would pass if nothing was balanced."""
    plain = alone["static+representation"]
    moved = max(float((alone[name][key] - value).abs().max()) for key, value in plain.items())
    # DWA begins after two epochs, and of the three tasks one alone has a base rate.
    rests = name.startswith(("static+representation", "dwa+representation", "inverse_rate+representation"))
    assert (moved < 1e-6) == rests


@pytest.mark.parametrize("balance", [balance for balance in BALANCES if balance.parts > 1], ids=lambda b: b.name)
def test_a_step_in_parts_is_the_step_of_the_whole(balance: Balance, alone: dict[str, dict[str, Tensor]]) -> None:
    whole = alone[replace(balance, parts=1).name]
    for key, value in alone[balance.name].items():
        torch.testing.assert_close(value, whole[key], rtol=0, atol=TOLERANCE, equal_nan=True, msg=key)


@pytest.mark.parametrize(
    "balance", [balance for balance in BALANCES if balance.aggregation is not None], ids=lambda b: b.name
)
def test_a_ranks_own_aggregation_is_another(balance: Balance) -> None:
    """Each rank aggregating the gradients of its own rows, and the mean of that, fails the check above: it bites."""

    def after(rows: list[tuple[int, int]]) -> list[Tensor]:
        moved = []
        for rank, number in rows:
            model = build()
            before = [parameter.detach().clone() for parameter in model.parameters()]
            step, _, _ = train_step(balance, model)
            step(share(global_batch(0), rank, number))
            moved.append([old - new.detach() for old, new in zip(before, model.parameters(), strict=True)])
        return [torch.stack(parts).mean(dim=0) for parts in zip(*moved, strict=True)]

    whole, naive = after([(0, 1)]), after([(0, 3), (1, 3), (2, 3)])
    furthest = max(float((one - other).abs().max()) for one, other in zip(whole, naive, strict=True))
    assert furthest > 1000 * TOLERANCE
