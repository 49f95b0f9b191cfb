"""Losses that a model adds, batch norms and learnt weightings: one and two processes take the same steps, and totals
are of the whole batch."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from mtl_ray.batch import Batch
from mtl_ray.models import MultiTaskModel
from mtl_ray.models.encoders import FeatureEncoderConfig
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing import AITMConfig, ESCM2Config, MMoE, MMoEConfig, SoftSharingConfig
from mtl_ray.optim import OptimizerConfig, ScheduleConfig, build_optimizer, build_schedule
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import StaticWeightingConfig, UncertaintyWeightingConfig, Weighting, WeightingContext
from tests.random_batch import part_of
from tests.unit.models.task_sets import SERIAL

MODELS: dict[str, ModelSettings] = {
    "soft_sharing": SoftSharingConfig(bottom=(6,), tower=(4,), distance_weight=0.1),
    "escm2": ESCM2Config(tower=(4,), regulariser_weight=0.5),
    "aitm": AITMConfig(bottom=(6,), tower=(4,)),
    "mmoe": MMoEConfig(
        num_experts=3,
        expert=(6,),
        tower=(4,),
        norm="batch",
        gate_temperature=0.5,
        load_balance=0.3,
        encoder=FeatureEncoderConfig(embedding_dim=4, embedding_l2=0.5),
    ),
}
LEARNT = "mmoe"
"""The one that is trained with uncertainty weighting."""
STEPS = 3
ROWS = 32


def train(name: str, rank: int, ranks: int) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Weights after a few steps, and the mean losses, from this rank's half of each batch."""
    torch.manual_seed(0)
    tasks = SERIAL.tasks()
    model = MODELS[name].build(SERIAL.schema, tasks).double()
    with torch.no_grad():
        for parameter in (*model.towers.parameters(), *gates_of(model)):
            parameter.normal_()  # so that AITM's calibrator and the load balance have something to push down
    weighting = weighting_of(name)
    optimizer = build_optimizer(OptimizerConfig(learning_rate=0.05), model, list(weighting.parameters()), 0.1)
    schedule = build_schedule(ScheduleConfig(), optimizer, STEPS)
    step = TrainStep(model, tasks, weighting, optimizer, schedule, 1.0, "fp64", torch.device("cpu"))
    for number in range(STEPS):
        step(share(sparse(SERIAL.batch(ROWS, seed=number, dtype=torch.float64), number), rank, ranks))
    learnt = {f"weighting.{key}": value for key, value in weighting.state_dict().items()}
    return {**model.state_dict(), **learnt}, step.totals.means()


def weighting_of(name: str) -> Weighting:
    config = UncertaintyWeightingConfig() if name == LEARNT else StaticWeightingConfig()
    return config.build(WeightingContext(dict.fromkeys(SERIAL.schema.tasks, 0.5)))


def gates_of(model: MultiTaskModel) -> list[Tensor]:
    return list(model.sharing.gate_weights) if isinstance(model.sharing, MMoE) else []


def sparse(batch: Batch, number: int) -> Batch:
    """Without a label of save in the first half, and in the second batch without any of value."""
    observed = batch.observed.clone()
    observed[: ROWS // 2, SERIAL.schema.tasks.index("save")] = False
    if number == 1:
        observed[:, SERIAL.schema.tasks.index("value")] = False
    return replace(batch, observed=observed, labels=torch.where(observed, batch.labels, 0.0))


def share(batch: Batch, rank: int, ranks: int) -> Batch:
    size = ROWS // ranks
    return part_of(batch, slice(rank * size, (rank + 1) * size))


def one_rank(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.save({name: train(name, rank, 2) for name in MODELS}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, tuple[dict[str, Tensor], dict[str, float]]]]:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(one_rank, args=(port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", list(MODELS))
def test_two_processes_are_one(
    name: str, two_ranks: list[dict[str, tuple[dict[str, Tensor], dict[str, float]]]]
) -> None:
    weights, means = train(name, 0, 1)
    for rank in two_ranks:
        found_weights, found_means = rank[name]
        assert found_means == pytest.approx(means, abs=1e-10)
        for key, value in weights.items():
            torch.testing.assert_close(found_weights[key], value, rtol=0, atol=1e-9)
            assert torch.equal(found_weights[key], two_ranks[0][name][0][key])


@pytest.mark.parametrize("name", list(MODELS))
def test_a_step_follows_the_added_losses_and_counts_them(name: str) -> None:
    _, means = train(name, 0, 1)
    model = MODELS[name].build(SERIAL.schema, SERIAL.tasks())
    assert isinstance(model, MultiTaskModel)
    assert model.auxiliary_names
    added = [f"auxiliary/{name}" for name in model.auxiliary_names]
    assert list(means) == [*SERIAL.schema.tasks, *added]
    assert all(means[key] > 0 for key in added)


def test_a_large_penalty_draws_the_tasks_together() -> None:
    def distance(weight: float) -> float:
        torch.manual_seed(0)
        tasks = SERIAL.tasks()
        model = SoftSharingConfig(bottom=(6,), tower=(4,), distance_weight=weight).build(SERIAL.schema, tasks)
        optimizer = build_optimizer(OptimizerConfig(learning_rate=0.05), model)
        schedule = build_schedule(ScheduleConfig(decay="constant"), optimizer, 20)
        weighting = StaticWeightingConfig().build(WeightingContext(dict.fromkeys(tasks, 1.0)))
        step = TrainStep(model, tasks, weighting, optimizer, schedule, None, "fp32", torch.device("cpu"))
        for number in range(20):
            step(SERIAL.batch(ROWS, seed=number))
        bottoms = [torch.cat([p.detach().flatten() for p in bottom.parameters()]) for bottom in model.sharing.bottoms]
        return float((bottoms[0] - bottoms[1]).square().sum())

    assert distance(10.0) < 0.1 * distance(0.0)


def test_a_large_load_balance_evens_out_the_gates() -> None:
    def imbalance(weight: float) -> float:
        torch.manual_seed(0)
        tasks = SERIAL.tasks()
        model = MMoEConfig(num_experts=3, expert=(6,), tower=(4,), load_balance=weight).build(SERIAL.schema, tasks)
        with torch.no_grad():
            for parameter in gates_of(model):
                parameter.normal_()
        optimizer = build_optimizer(OptimizerConfig(learning_rate=0.05), model)
        schedule = build_schedule(ScheduleConfig(decay="constant"), optimizer, 30)
        step = TrainStep(model, tasks, weighting_of("static"), optimizer, schedule, None, "fp32", torch.device("cpu"))
        for number in range(30):
            step(SERIAL.batch(ROWS, seed=number))
        gates = model.gates(SERIAL.batch(256, seed=99))
        return sum(float(gate.detach().mean(dim=0).var()) for gate in gates.values())

    assert imbalance(10.0) < 0.3 * imbalance(0.0)


def test_a_learnt_weight_rests_where_its_task_is_not_observed_and_no_clipping_reaches_it() -> None:
    torch.manual_seed(0)
    tasks = SERIAL.tasks()
    model = MODELS[LEARNT].build(SERIAL.schema, tasks).double()
    weighting = weighting_of(LEARNT)
    (learnt,) = weighting.parameters()
    optimizer = build_optimizer(OptimizerConfig(learning_rate=0.05), model, [learnt], 0.1)
    schedule = build_schedule(ScheduleConfig(decay="constant"), optimizer, STEPS)
    step = TrainStep(model, tasks, weighting, optimizer, schedule, 1e-9, "fp64", torch.device("cpu"))
    value = SERIAL.schema.tasks.index("value")
    before = learnt.detach().clone()
    for number in range(STEPS):
        step(sparse(SERIAL.batch(ROWS, seed=number, dtype=torch.float64), number))
        moved = (learnt.detach() - before).abs()
        assert bool(moved[value] == 0) == (number == 1)
        assert (torch.cat([moved[:value], moved[value + 1 :]]) > 1e-4).all()
        before = learnt.detach().clone()
