"""Batch norm is torch's on one process, and of the global batch on several."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from mtl_ray.models.experts import Experts
from mtl_ray.models.mlp import MLP
from mtl_ray.models.norm import BatchNorm

E, ROWS, SIZE = 3, 12, 5
SHARES = {
    "even": (slice(0, 6), slice(6, ROWS)),
    "uneven": (slice(0, 1), slice(1, ROWS)),
    "none": (slice(0, 0), slice(0, ROWS)),
}


def inputs(step: int = 0) -> Tensor:
    """`[E, B, H]`, with means that are large beside the deviations."""
    random = torch.Generator().manual_seed(step)
    return torch.randn(E, ROWS, SIZE, generator=random, dtype=torch.float64) * 0.1 + 3.0


def randomised(norm: nn.Module) -> nn.Module:
    random = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_(generator=random)
    return norm


def run(share: slice) -> list[Tensor]:
    """Outputs, gradients of the inputs and parameters, and running statistics after three batches' shares."""
    norm = randomised(BatchNorm(E, SIZE).double())
    found = []
    for step in range(3):
        x = inputs(step)[:, share].requires_grad_()
        y = norm(x)
        norm.zero_grad()
        weight = torch.cos(torch.arange(E * ROWS * SIZE, dtype=torch.float64)).view(E, ROWS, SIZE)[:, share]
        (y * weight).sum().backward()
        assert x.grad is not None
        found += [y.detach(), x.grad]
    return [*found, *(p.grad for p in norm.parameters()), norm.running_mean, norm.running_var]  # type: ignore[list-item]


def on_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save({name: run(shares[rank]) for name, shares in SHARES.items()}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_one_process_is_torch_s_batch_norm_an_expert() -> None:
    ours = randomised(BatchNorm(E, SIZE).double())
    theirs = [nn.BatchNorm1d(SIZE).double() for _ in range(E)]
    with torch.no_grad():
        for index, norm in enumerate(theirs):
            norm.weight.copy_(ours.weight.view(E, SIZE)[index])
            norm.bias.copy_(ours.bias.view(E, SIZE)[index])
    for step in range(3):
        x, y = inputs(step).requires_grad_(), inputs(step).requires_grad_()
        found = ours(x)
        expected = torch.stack([norm(each) for norm, each in zip(theirs, y, strict=True)])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
        for output in (found, expected):
            output.sin().sum().backward()
        torch.testing.assert_close(x.grad, y.grad, rtol=0, atol=1e-9)
    for name in ("running_mean", "running_var"):
        stacked = torch.cat([getattr(norm, name) for norm in theirs])
        torch.testing.assert_close(getattr(ours, name), stacked, rtol=0, atol=1e-12)
    ours.eval()
    expected = torch.stack([norm.eval()(each) for norm, each in zip(theirs, inputs(5), strict=True)])
    torch.testing.assert_close(ours(inputs(5)), expected, rtol=0, atol=1e-11)


def test_two_processes_are_one(tmp_path: Path) -> None:
    mp.spawn(on_rank, args=(str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    *rows, weight, bias, mean, var = run(slice(0, ROWS))
    for name in SHARES:
        *first, first_weight, first_bias, first_mean, first_var = ranks[0][name]
        *second, second_weight, second_bias, second_mean, second_var = ranks[1][name]
        for expected, one, other in zip(rows, first, second, strict=True):
            torch.testing.assert_close(torch.cat([one, other], dim=1), expected, rtol=0, atol=1e-11)
        torch.testing.assert_close(first_weight + second_weight, weight, rtol=0, atol=1e-11)
        torch.testing.assert_close(first_bias + second_bias, bias, rtol=0, atol=1e-11)
        assert torch.equal(first_mean, second_mean)
        assert torch.equal(first_var, second_var)
        torch.testing.assert_close(first_mean, mean, rtol=0, atol=1e-12)
        torch.testing.assert_close(first_var, var, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_an_expert_is_an_mlp(norm: str) -> None:
    experts = Experts(E, 4, (6, SIZE), norm=norm).double()  # type: ignore[arg-type]
    mlp = MLP(4, (6, SIZE), norm=norm).double()  # type: ignore[arg-type]
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.normal_(generator=random)
    state = {f"linears.{layer}.weight": w[1].T for layer, w in enumerate(experts.weights)}
    state |= {f"linears.{layer}.bias": b.view(E, -1)[1] for layer, b in enumerate(experts.biases)}
    state |= {f"norms.{name}": value.view(E, -1)[1] for name, value in experts.norms.state_dict().items()}
    mlp.load_state_dict(state)
    x = torch.randn(ROWS, 4, generator=random, dtype=torch.float64)
    torch.testing.assert_close(experts(x)[1], mlp(x), rtol=0, atol=1e-11)


def test_no_bias_stands_before_a_batch_norm() -> None:
    assert [name for name, _ in MLP(4, (6,), norm="batch").named_parameters()] == [
        "linears.0.weight",
        "norms.0.weight",
        "norms.0.bias",
    ]


def test_one_row_has_no_deviation() -> None:
    norm = BatchNorm(1, 2)
    found = norm(torch.tensor([[3.0, -1.0]]))
    assert torch.equal(found, torch.zeros(1, 2))
    assert torch.isfinite(norm.running_var).all()


def test_statistics_are_float32_under_autocast() -> None:
    x = (inputs()[0] * 100).float()
    mlp = MLP(SIZE, (8,), norm="batch")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = mlp(x)
    assert mlp.norms is not None
    assert mlp.norms[0].running_mean.dtype == torch.float32
    assert torch.isfinite(found).all()
