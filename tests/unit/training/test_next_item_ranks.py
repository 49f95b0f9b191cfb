"""Training and validation with a next-item task: two processes are one, and planted tastes are found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.metrics import roc_auc_score
from torch import Tensor

from mtl_ray import distributed
from mtl_ray.batch import Batch
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing import MMoEConfig, SharedBottomConfig
from mtl_ray.optim import OptimizerConfig, ScheduleConfig, build_optimizer, build_schedule
from mtl_ray.schema import BatchSchema, CategoricalFeature, LabelStatistics
from mtl_ray.tasks import BinaryTaskConfig, NextItemTaskConfig, Task
from mtl_ray.training.step import TrainStep
from mtl_ray.training.validation import validate
from mtl_ray.weighting import StaticWeightingConfig, UncertaintyWeightingConfig, WeightingContext
from tests.random_batch import part_of
from tests.unit.models.next_item_set import NEXT, with_next_item
from tests.unit.models.task_sets import PLAIN

CPU = torch.device("cpu")
ROWS, STEPS = 48, 3
MODELS: dict[str, ModelSettings] = {
    "shared bottom": SharedBottomConfig(bottom=(8,), tower=(6,)),
    "batch norm": MMoEConfig(num_experts=2, expert=(8,), tower=(6,), norm="batch"),
}
CASES = [(name, correct, order) for name in MODELS for correct in (True, False) for order in ("all", "one rank")]


def batch_of(step: int, order: str) -> Batch:
    """The last batch of all ends in padding, which repeats the first row's labels. one rank: only the first half has
    queries."""
    batch = with_next_item(PLAIN).batch(ROWS, seed=step, dtype=torch.float64)
    if order == "one rank":
        observed = batch.observed.clone()
        observed[ROWS // 2 :, 1] = False
        batch = replace(batch, observed=observed)
    if step == STEPS - 1:
        real = torch.arange(ROWS) < ROWS - 5
        batch = replace(
            batch,
            labels=torch.where(real.unsqueeze(1), batch.labels, 1.0),
            observed=batch.observed & real.unsqueeze(1),
            row_id=torch.where(real, batch.row_id, -1),
        )
    return batch


def share(batch: Batch, ranks: int) -> Batch:
    size = ROWS // ranks
    return part_of(batch, slice(distributed.rank() * size, (distributed.rank() + 1) * size))


def trained(name: str, correct: bool, order: str, ranks: int) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Gradients of the first step, weights after the last, and losses and metrics of training and validation."""
    torch.manual_seed(0)
    tasks = with_next_item(PLAIN, NEXT.model_copy(update={"correct_popularity": correct})).tasks()
    schema = PLAIN.schema.model_copy(update={"tasks": tuple(tasks)})
    model = MODELS[name].build(schema, tasks).double()
    weighting = UncertaintyWeightingConfig().build(WeightingContext(dict.fromkeys(tasks, 1.0)))
    optimizer = build_optimizer(OptimizerConfig(learning_rate=0.01), model, list(weighting.parameters()))
    schedule = build_schedule(ScheduleConfig(decay="constant"), optimizer, STEPS)
    step = TrainStep(model, tasks, weighting, optimizer, schedule, None, "fp64", CPU)
    tensors = {}
    for number in range(STEPS):
        step(share(batch_of(number, order), ranks))
        if number == 0:
            found = {key: p.grad for key, p in model.named_parameters()}
            tensors = {f"gradient {key}": grad.clone() for key, grad in found.items() if grad is not None}
    tensors |= {key: value.clone() for key, value in model.state_dict().items()}
    batches = [(share(batch_of(number, order), ranks), None) for number in range(STEPS)]
    values = validate(model, batches, tasks, CPU, "fp64")
    return tensors, {**{f"train {key}": value for key, value in step.totals.means().items()}, **values}


def gathered() -> list[Tensor]:
    """What a gather gives with and without gradients, and the gradient of this rank's rows."""
    rank = distributed.rank()
    # Not contiguous in memory.
    own = (torch.arange(6.0, dtype=torch.float64).view(3, 2) + 10 * rank).T.contiguous().T.requires_grad_()
    whole = distributed.differentiable_gather(own)
    weight = (rank + 1) * torch.arange(1.0, 7.0, dtype=torch.float64)
    (whole * weight.unsqueeze(1)).sum().backward()
    assert own.grad is not None
    with torch.inference_mode():
        plain = distributed.differentiable_gather(own)
    return [whole.detach(), plain.clone(), own.grad]


def on_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {str(case): trained(*case, ranks=2) for case in CASES}
    torch.save({"gathered": gathered(), **found}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


Ranks = list[dict[str, Any]]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(on_rank, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_processes_are_one(case: tuple[str, bool, str], two_ranks: Ranks) -> None:
    tensors, values = trained(*case, ranks=1)
    assert "gradient two_towers.task_next.item.head.weight" in tensors
    assert values["next/loss"] > 0
    for found in (rank[str(case)] for rank in two_ranks):
        assert found[1] == pytest.approx(values, abs=1e-10, nan_ok=True)
        assert set(found[0]) == set(tensors)
        for key, value in tensors.items():
            torch.testing.assert_close(found[0][key], value, rtol=0, atol=1e-10 if "gradient" in key else 1e-8)


def test_the_gradient_of_a_gather_is_summed_over_ranks(two_ranks: Ranks) -> None:
    rows = torch.arange(6.0, dtype=torch.float64).view(3, 2)
    for rank, found in enumerate(two_ranks):
        whole, plain, grad = found["gathered"]
        assert torch.equal(whole, torch.cat([rows, rows + 10]))
        assert torch.equal(plain, whole)
        # Rank r weighs row i of the gathered ones by (r + 1) * (i + 1).
        weight = 3.0 * torch.arange(1.0, 7.0, dtype=torch.float64)[3 * rank : 3 * rank + 3]
        assert torch.equal(grad, weight.unsqueeze(1).expand(3, 2))


def test_validation_s_loss_and_auc_are_the_task_s() -> None:
    tasks = with_next_item(PLAIN).tasks()
    torch.manual_seed(0)
    model = SharedBottomConfig(bottom=(8,)).build(with_next_item(PLAIN).schema, tasks).double()
    batch = with_next_item(PLAIN).batch(ROWS, seed=5, dtype=torch.float64)
    values = validate(model, [(batch, np.arange(ROWS) % 3)], tasks, CPU, "fp64")
    task = tasks["next"]
    with torch.no_grad():
        logits = model.eval()(batch)["next"]
    label, seen = batch.labels[:, 1], batch.observed[:, 1]
    query = (label > 0.5) & seen
    loss = task.loss(logits, query.double())[query]
    weight = batch.sample_weight[query]
    assert values["next/loss"] == pytest.approx(float(torch.dot(loss, weight) / weight.sum()), abs=1e-12)
    expected = roc_auc_score(label[seen], task.predict(logits)[seen].float())
    assert values["next/roc_auc"] == pytest.approx(expected, abs=1e-12)
    assert "next/gauc" in values
    assert not {"next/ece", "next/log_loss", "next/predicted_over_observed"} & set(values)


USERS, ITEMS, GROUPS = 60, 80, 4
SCHEMA = BatchSchema(
    vocabularies={"user": USERS + 2, "item": ITEMS + 2},
    categorical=(
        CategoricalFeature(name="user_id", vocabulary="user"),
        CategoricalFeature(name="item_id", vocabulary="item"),
    ),
    tasks=("rare", "next"),
)


def planted_tasks(correct: bool) -> dict[str, Task]:
    config = NextItemTaskConfig(user=("user_id",), item=("item_id",), dim=8, correct_popularity=correct)
    return {
        "rare": BinaryTaskConfig().build("rare", LabelStatistics(observed=100, mean=0.1)),
        "next": config.build("next", LabelStatistics(observed=100, mean=0.5)),
    }


def rows_of(users: Tensor, items: Tensor, taken: Tensor, random: torch.Generator) -> Batch:
    rows = len(users)
    rare = torch.rand(rows, generator=random) < 0.1
    return Batch(
        categorical=torch.stack([users + 2, items + 2], dim=1).int(),
        numeric=torch.zeros(rows, 0),
        labels=torch.stack([rare, taken], dim=1).float(),
        observed=torch.ones(rows, 2, dtype=torch.bool),
        sample_weight=torch.ones(rows),
        row_id=torch.arange(rows),
    )


@pytest.mark.parametrize("correct", [True, False])
def test_planted_tastes_are_found_in_pairs_that_were_never_shown(correct: bool) -> None:
    """User and item have a group each; a user takes items of its own group. A fifth of the pairs is never shown."""
    random = torch.Generator().manual_seed(0)
    pairs = torch.cartesian_prod(torch.arange(USERS), torch.arange(ITEMS))
    hidden = torch.rand(len(pairs), generator=random) < 0.2
    liked = pairs[:, 0] % GROUPS == pairs[:, 1] % GROUPS
    shown = pairs[~hidden]
    # Half of what is shown is liked, popular items more often than others.
    popularity = 1.0 / (1.0 + shown[:, 1].double())
    weight = popularity * torch.where(liked[~hidden], GROUPS - 1.0, 1.0)
    torch.manual_seed(0)
    tasks = planted_tasks(correct)
    model = SharedBottomConfig(bottom=(16,), tower=(16,)).build(SCHEMA, tasks)
    optimizer = build_optimizer(OptimizerConfig(learning_rate=0.01), model)
    schedule = build_schedule(ScheduleConfig(decay="constant"), optimizer, 300)
    step = TrainStep(
        model,
        tasks,
        StaticWeightingConfig().build(WeightingContext(dict.fromkeys(tasks, 1.0))),
        optimizer,
        schedule,
        1.0,
        "fp32",
        CPU,
    )
    for _ in range(300):
        chosen = shown[torch.multinomial(weight, 256, replacement=True, generator=random)]
        step(rows_of(chosen[:, 0], chosen[:, 1], chosen[:, 0] % GROUPS == chosen[:, 1] % GROUPS, random))
    unseen = pairs[hidden]
    batch = rows_of(unseen[:, 0], unseen[:, 1], liked[hidden], random)
    values = validate(model, [(batch, unseen[:, 0].numpy())], tasks, CPU, "fp32")
    assert values["next/roc_auc"] > 0.9
    assert values["next/gauc"] > 0.9
