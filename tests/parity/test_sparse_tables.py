"""Sparse gradients of embedding tables: the steps are those of dense ones where both exist, and the same on 1, 2 and 3
ranks, whatever balances the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from pydantic import TypeAdapter
from torch import Tensor

from mtl_ray.aggregation import GradDropConfig, PCGradConfig
from mtl_ray.batch import Batch
from mtl_ray.models.sharing.stem import STEMConfig
from mtl_ray.optim import EmbeddingOptimizerConfig, OptimizerConfig, ScheduleConfig, build_optimizer, build_schedule
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import FAMOWeightingConfig, GradNormWeightingConfig, StaticWeightingConfig, WeightingContext
from tests.parity.balancing.balanced_steps import MODEL, Balance, build, global_batch, share, trained
from tests.random_batch import part_of
from tests.unit.models.task_sets import PLAIN

TOLERANCE = 1e-10
BALANCES = (
    Balance(),
    Balance(parts=3),
    Balance(FAMOWeightingConfig(compare_on="same_batch")),
    Balance(GradNormWeightingConfig()),
    Balance(aggregation=PCGradConfig()),
    Balance(aggregation=PCGradConfig(), parts=3),
    Balance(aggregation=PCGradConfig(), on="shared"),
    Balance(aggregation=GradDropConfig(), on="shared", parts=3),
)
OPTIMIZERS = [
    name
    for member in get_args(get_args(EmbeddingOptimizerConfig)[0])
    if (name := member.model_fields["name"].default) != "dense"
]
MODELS = {"mmoe": MODEL, "stem": STEMConfig(expert=(6,), tower=(4,))}
CASES = [(optimizer, model) for optimizer in OPTIMIZERS for model in MODELS]


def learnt(optimizer_name: str, model_name: str, batches: Sequence[Batch]) -> dict[str, Tensor]:
    """Parameters after a step of the real optimizer on each."""
    model = build(MODELS[model_name])
    config = OptimizerConfig(
        learning_rate=0.01,
        embeddings=TypeAdapter(EmbeddingOptimizerConfig).validate_python({"name": optimizer_name}),
        embedding_weight_decay=0.1 if optimizer_name == "rowwise_adagrad" else 0.0,
    )
    optimizer = build_optimizer(config, model)
    step = TrainStep(
        model,
        PLAIN.tasks(),
        StaticWeightingConfig().build(WeightingContext(dict.fromkeys(PLAIN.schema.tasks, 0.5))),
        optimizer,
        build_schedule(ScheduleConfig(), optimizer, 10),
        1.0,
        "fp64",
        torch.device("cpu"),
    )
    for batch in batches:
        step(batch)
    return {name: value.clone() for name, value in model.state_dict().items()}


def shares(rank: int, ranks: int) -> list[Batch]:
    return [share(global_batch(number), rank, ranks) for number in range(4)]


def on_rank(rank: int, ranks: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    found = {balance.name: trained(balance, rank, ranks, sparse=True) for balance in BALANCES}
    found |= {"+".join(case): learnt(*case, shares(rank, ranks)) for case in CASES}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def ranks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, dict[str, Tensor]]]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    mp.spawn(on_rank, args=(request.param, str(folder)), nprocs=request.param)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(request.param)]


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=TOLERANCE, equal_nan=True, msg=name)


@pytest.mark.parametrize("balance", BALANCES, ids=lambda balance: balance.name)
def test_gradient_descent_is_that_of_dense_gradients(
    balance: Balance, ranks: list[dict[str, dict[str, Tensor]]]
) -> None:
    """`trained` clips too: the length of a sparse gradient is that of the dense one."""
    dense = trained(balance, 0, 1)
    same(trained(balance, 0, 1, sparse=True), dense)
    for rank in ranks:
        same(rank[balance.name], dense)


@pytest.mark.parametrize("case", CASES, ids="+".join)
def test_ranks_take_the_steps_of_one_process(case: tuple[str, str], ranks: list[dict[str, dict[str, Tensor]]]) -> None:
    alone = learnt(*case, shares(0, 1))
    for rank in ranks:
        same(rank["+".join(case)], alone)
        for name, value in rank["+".join(case)].items():
            assert torch.equal(value, ranks[0]["+".join(case)][name]), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_rows_that_no_batch_shows_stay(optimizer: str) -> None:
    first = build(MODEL).state_dict()
    few = [part_of(global_batch(0), slice(0, 3))]
    after = learnt(optimizer, "mmoe", few)
    model = build(MODEL)
    (table,) = model.embedding_tables()
    seen: list[Tensor] = []
    table.register_forward_pre_hook(lambda _, ids: seen.append(ids[0].flatten()))
    model(few[0])
    shown = torch.zeros(len(table.weight), dtype=torch.bool)
    shown[torch.cat(seen)] = True
    (name,) = [name for name in after if name.endswith("embedding.weight")]
    moved = (after[name] != first[name]).any(dim=1)
    assert int(moved.sum()) > 0
    assert not shown.all()
    assert not (moved & ~shown).any()
