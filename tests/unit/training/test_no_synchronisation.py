"""A step asks the device for no number: the host goes on to the next while the device still computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mtl_ray.models import MultiTaskModel
from mtl_ray.optim import OptimizerConfig, ScheduleConfig, build_optimizer, build_schedule
from mtl_ray.optim.embeddings import DenseConfig
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import UncertaintyWeightingConfig, WeightingContext
from tests.parity.balancing.balanced_steps import MODEL
from tests.unit.models.task_sets import PLAIN

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "is_nonzero")
"""Operators that wait for a GPU: their result is a number of the host, or has as many rows as the data says."""


class Waits(TorchDispatchMode):
    """Notes what would wait for a GPU, on any device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put_", "index_put") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in WAITS or by_mask:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def step_on(device: torch.device, precision: str = "fp32") -> tuple[TrainStep, MultiTaskModel]:
    torch.manual_seed(0)
    tasks = PLAIN.tasks()
    model = MODEL.build(PLAIN.schema, tasks).to(device)
    context = WeightingContext(dict.fromkeys(PLAIN.schema.tasks, 0.5), seed=3)
    weighting = UncertaintyWeightingConfig().build(context).to(device)
    optimizer = build_optimizer(OptimizerConfig(embeddings=DenseConfig()), model, list(weighting.parameters()), 0.1)
    schedule = build_schedule(ScheduleConfig(), optimizer, 10)
    return TrainStep(model, tasks, weighting, optimizer, schedule, 1.0, precision, device), model


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_asks_for_no_number(precision: str) -> None:
    step, _ = step_on(torch.device("cpu"), precision)
    step(PLAIN.batch(32, seed=0))
    with Waits() as waits:
        step(PLAIN.batch(32, seed=1))
    assert waits.found == []


def test_asking_is_noticed() -> None:
    with Waits() as waits:
        torch.ones(2).sum().item()
        torch.arange(3)[torch.tensor([True, False, True])]
    assert waits.found == ["_local_scalar_dense", "index"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_nothing_synchronises_on_a_gpu() -> None:
    device = torch.device("cuda")
    step, _ = step_on(device)
    batches = [PLAIN.batch(32, seed=seed).to(device) for seed in range(3)]
    step(batches[0])
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches[1:]:
            step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_adamw_is_fused() -> None:
    _, model = step_on(torch.device("cpu"))
    optimizer = build_optimizer(OptimizerConfig(embeddings=DenseConfig()), model)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert all(group["fused"] for group in optimizer.param_groups)
