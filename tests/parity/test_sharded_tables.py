"""Tables sharded by TorchRec learn and predict as replicated ones do, on any number of ranks."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mtl_ray.aggregation import PCGradConfig, SumConfig
from mtl_ray.aggregation.aggregation import AggregationContext, AggregationSettings
from mtl_ray.embedding_table import deferred_tables
from mtl_ray.errors import MtlRayError
from mtl_ray.models import MultiTaskModel
from mtl_ray.models.sharing import MMoEConfig, STEMConfig
from mtl_ray.optim import OptimizerConfig, ScheduleConfig, build_optimizer, build_schedule
from mtl_ray.optim.embeddings import RowwiseAdagradConfig
from mtl_ray.optim.sharded import (
    Sharding,
    ShardingRequest,
    gather_tables,
    release_tables,
    shard_tables,
    sharded_tables,
)
from mtl_ray.training.step import TrainStep
from mtl_ray.weighting import StaticWeightingConfig, WeightingContext
from tests.random_batch import SCHEMA, make_tasks, part_of, random_batch

ROWS, STEPS, RATE = 48, 4, 0.05
CPU = torch.device("cpu")
MODELS: dict[str, Any] = {"mmoe": MMoEConfig(num_experts=2, expert=(8,)), "stem": STEMConfig(expert=(8,))}
AGGREGATIONS: dict[str, AggregationSettings] = {"sum": SumConfig(), "pcgrad": PCGradConfig()}
CASES = (("mmoe", "sum"), ("stem", "sum"), ("mmoe", "pcgrad"))
TOLERANCE = 2e-6
"""Of float32, in which FBGEMM's tables are, after a few steps."""


def whole_model(name: str) -> MultiTaskModel:
    torch.manual_seed(0)
    return MODELS[name].build(SCHEMA, make_tasks())  # type: ignore[no-any-return]


def sharded_model(name: str, sharding: Sharding, seed: int = 0) -> MultiTaskModel:
    """With the weights of `whole_model`, but for the tables, which are drawn."""
    with deferred_tables():
        model = MODELS[name].build(SCHEMA, make_tasks())
    ranks = dist.get_world_size()
    request = ShardingRequest(sharding, ranks, ranks, "cpu", ROWS // ranks, None)
    shard_tables(model, seed, RowwiseAdagradConfig(), RATE, request, CPU)
    return model  # type: ignore[no-any-return]


class Run:
    """A training on this rank."""

    def __init__(self, name: str, aggregation: str, sharding: Sharding | None) -> None:
        whole = whole_model(name)
        self.model = whole
        if sharding is not None:
            self.model = sharded_model(name, sharding)
            self.model.load_state_dict(whole.state_dict())
        config = OptimizerConfig.model_validate(
            {"learning_rate": 0.01, "embedding_learning_rate": RATE, "embeddings": {"name": "rowwise_adagrad"}}
        )
        self.optimizer = build_optimizer(config, self.model)
        self.schedule = build_schedule(ScheduleConfig(decay="linear", warmup_steps=2), self.optimizer, 2 * STEPS)
        tasks = make_tasks()
        weighting = StaticWeightingConfig().build(
            WeightingContext(dict.fromkeys(tasks, 1.0), {}, dict.fromkeys(tasks, "binary"))
        )
        context = AggregationContext(tuple(tasks))
        self.step = TrainStep(
            self.model,
            tasks,
            weighting,
            self.optimizer,
            self.schedule,
            None,
            "fp32",
            CPU,
            AGGREGATIONS[aggregation].build(context),
        )

    def go_on(self, steps: range) -> None:
        ranks = dist.get_world_size()
        share = ROWS // ranks
        for number in steps:
            batch = part_of(
                random_batch(ROWS, seed=number), slice(dist.get_rank() * share, (dist.get_rank() + 1) * share)
            )
            self.step(batch)

    def state(self) -> dict[str, Any]:
        """What a checkpoint would hold; whole on rank 0."""
        gather_tables(self.model)
        found = {
            "weights": {name: value.clone() for name, value in self.model.state_dict().items()},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        release_tables(self.model)
        return found

    def logits(self) -> dict[str, torch.Tensor]:
        """Of one batch, the same on every rank."""
        self.model.eval()
        with torch.inference_mode():
            found = self.model(random_batch(ROWS, seed=99))
        self.model.train()
        return {task: value.clone() for task, value in found.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])


def train_rank(rank: int, ranks: int, folder: str, sharding: Sharding | None, start: str | None) -> None:
    """Every case, one after the other."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    states, logits, loaded = {}, {}, {}
    for name, aggregation in CASES:
        run = Run(name, aggregation, sharding)
        assert bool(sharded_tables(run.model)) == (sharding is not None)
        first = 0
        if start is not None:
            run.restore(torch.load(start, weights_only=True)[f"{name}+{aggregation}"])
            first = STEPS
            loaded[f"{name}+{aggregation}"] = run.logits()
        run.go_on(range(first, first + STEPS))
        states[f"{name}+{aggregation}"] = run.state()
        logits[f"{name}+{aggregation}"] = run.logits()
    if rank == 0:
        torch.save(states, f"{folder}/states.pt")
        torch.save(logits, f"{folder}/logits.pt")
        torch.save(loaded, f"{folder}/loaded.pt")
    dist.destroy_process_group()


def on_ranks(target: Callable[..., None], ranks: int, *arguments: Any) -> None:
    """As `mp.spawn`, with processes that need not import TorchRec: it takes each of them seconds."""
    multiprocessing.set_forkserver_preload(["torchrec.distributed.planner", "torchrec.distributed.embedding", __name__])
    mp.start_processes(target, arguments, nprocs=ranks, start_method="forkserver")  # type: ignore[no-untyped-call]


def trained(folder: Path, ranks: int, sharding: Sharding | None, start: Path | None = None) -> Path:
    """Folder with the states and logits that rank 0 has in the end."""
    own = Path(tempfile.mkdtemp(dir=folder))
    on_ranks(train_rank, ranks, ranks, str(own), sharding, start and str(start))
    return own


def assert_alike(one: Path, other: Path) -> None:
    for file in ("states.pt", "logits.pt"):
        found, expected = (torch.load(folder / file, weights_only=True) for folder in (one, other))
        assert found.keys() == expected.keys()
        for case, values in expected.items():
            for name, value in values.get("weights", values).items():
                own = found[case].get("weights", found[case])[name]
                torch.testing.assert_close(own, value, rtol=0, atol=TOLERANCE, msg=f"{case}: {name}")


def assert_predicts_as(loaded: Path, saved: Path) -> None:
    """Before the first step of the one and after the last of the other."""
    found, expected = torch.load(loaded / "loaded.pt", weights_only=True), torch.load(saved / "logits.pt")
    assert found.keys() == expected.keys()
    for case, logits in expected.items():
        for task, value in logits.items():
            torch.testing.assert_close(found[case][task], value, rtol=0, atol=1e-6, msg=f"{case}: {task}")


def test_sharded_equals_replicated_and_either_goes_on_as_the_other(tmp_path: Path) -> None:
    replicated, by_row, by_table = (trained(tmp_path, 2, kind) for kind in (None, "row_wise", "table_wise"))
    assert_alike(by_row, replicated)
    assert_alike(by_table, replicated)
    moved = torch.load(by_row / "states.pt", weights_only=True)
    for name, aggregation in CASES:
        before, after = whole_model(name).state_dict(), moved[f"{name}+{aggregation}"]["weights"]
        tables = [key for key in before if key.endswith("embedding.weight")]
        assert tables
        assert not any(torch.equal(before[key], after[key]) for key in tables)
    # Saved on 2 ranks, each predicts the same and goes on as the other would: on 1 rank, replicated, and on 3, sharded.
    alone = trained(tmp_path, 1, None, start=by_table / "states.pt")
    assert_predicts_as(alone, by_table)
    for sharding, saved in (("table_wise", replicated), ("auto", by_row)):
        three = trained(tmp_path, 3, sharding, start=saved / "states.pt")  # type: ignore[arg-type]
        assert_predicts_as(three, saved)
        assert_alike(three, alone)


def drawn_rank(rank: int, ranks: int, folder: str, sharding: Sharding) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    model = sharded_model("stem", sharding, seed=5)
    gather_tables(model)
    (first, second, *_) = sharded_tables(model)
    own = sum(map(len, first._weights().values()))
    assert sharding == "table_wise" or own == -(-first.rows // ranks) or rank == ranks - 1
    assert sum(shard.last - shard.first for shard in first.plan.shards) == first.rows
    if rank == 0:
        torch.save({key: value for key, value in model.state_dict().items() if "embedding" in key}, f"{folder}/rows.pt")
        assert not torch.equal(first.state_dict()["weight"], second.state_dict()["weight"])
    release_tables(model)
    assert "weight" not in first.state_dict()
    batch = random_batch(8, seed=0)
    model(batch)
    with pytest.raises(MtlRayError, match="looked up twice"):
        model(batch)
    dist.destroy_process_group()


def test_rows_are_drawn_alike_however_many_ranks_share_them(tmp_path: Path) -> None:
    found = []
    for ranks, sharding in ((1, "row_wise"), (3, "row_wise"), (2, "table_wise")):
        own = tempfile.mkdtemp(dir=tmp_path)
        on_ranks(drawn_rank, ranks, ranks, own, sharding)
        found.append(torch.load(f"{own}/rows.pt", weights_only=True))
    for other in found[1:]:
        assert found[0].keys() == other.keys()
        for name, rows in found[0].items():
            assert torch.equal(rows, other[name])
            assert rows.std() > 0
