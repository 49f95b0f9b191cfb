"""Measured affinity is that of a loop over copies of the model, on one process and on two with the same global batch.

Ranks have unequal numbers of rows, of one task some rank has no label, and in one step no rank has any of another.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from tests.parity.affinity.measured_steps import CASES, Case, Training, by_loop, measured
from tests.parity.balancing.balanced_steps import global_batch, share

TOLERANCE = 1e-11
OF_RANKS = {"adamw": 1e-8}
"""Relative. AdamW's first steps divide a gradient by its own size plus 1e-8: where it is nearly zero, what ranks sum in
another order comes out a million times larger."""


def on_rank(rank: int, ranks: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    torch.save({case.name: measured(case, rank, ranks) for case in CASES}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    mp.spawn(on_rank, args=(2, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_that_of_a_loop(case: Case, ranks: list[dict[str, Tensor]]) -> None:
    expected = by_loop(case)
    torch.testing.assert_close(measured(case, 0, 1), expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    for found in ranks:
        relative = OF_RANKS.get(case.optimizer, TOLERANCE)
        torch.testing.assert_close(found[case.name], expected, rtol=relative, atol=TOLERANCE, equal_nan=True)
        assert torch.equal(found[case.name].nan_to_num(), ranks[0][case.name].nan_to_num())
    # In step 3 nothing of the third task is observed; all else is measured, and tasks do affect each other.
    unknown = torch.zeros_like(expected, dtype=torch.bool)
    unknown[3, 2, :] = unknown[3, :, 2] = True
    assert torch.equal(expected.isnan(), unknown)
    assert float(expected[0].abs().min()) > 100 * TOLERANCE


def test_a_ranks_own_affinity_is_another() -> None:
    """The mean of what ranks measure by themselves fails the check above: it bites."""
    case = CASES[0]
    alone = [_measured_alone(case, rank) for rank in range(2)]
    assert float((torch.stack(alone).nanmean(dim=0) - measured(case, 0, 1)[0]).abs().max()) > 1000 * TOLERANCE


def _measured_alone(case: Case, rank: int) -> Tensor:
    found = Training(case).step(share(global_batch(0), rank, 2), measure=True)
    assert found is not None
    return found
