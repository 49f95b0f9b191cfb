"""Which worker holds which rows: TorchRec's planner (Ivchenko et al., TorchRec, RecSys 2022) on a model's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import nn

from mtl_ray.embedding_table import EmbeddingTable
from mtl_ray.errors import ConfigError
from mtl_ray.optim.embeddings import RowwiseAdagradConfig

Sharding = Literal["row_wise", "table_wise", "auto"]
KINDS: dict[Sharding, list[str]] = {
    "row_wise": ["row_wise"],
    "table_wise": ["table_wise"],
    "auto": ["row_wise", "table_wise"],
}
"""TorchRec's types that the planner chooses from for each part."""
EVERY = "all vocabularies"


@dataclass(frozen=True)
class ShardingRequest:
    """What the planner is to know of the workers and their batches."""

    sharding: Sharding
    ranks: int
    ranks_a_machine: int
    device: str
    """cpu, cuda."""
    batch_rows: int
    """Of one rank."""
    memory: int | None
    """Bytes of each rank's device for tables, their optimizer's state and what a step exchanges; None: TorchRec's own
    guess of a device."""


@dataclass(frozen=True)
class TablePart:
    """Consecutive rows of a table that are placed together: of one vocabulary, or of all."""

    name: str
    """In TorchRec's plan; unique in the model."""
    title: str
    first: int
    rows: int
    ids_a_row: int


@dataclass(frozen=True)
class Shard:
    """Rows `[first, last)` of the whole table, which lie on one rank."""

    part: TablePart
    rank: int
    first: int
    last: int


@dataclass(frozen=True)
class TablePlan:
    """Where the rows of one table lie."""

    parts: tuple[TablePart, ...]
    shards: tuple[Shard, ...]
    """Every row stands in one."""
    collection: nn.Module
    """TorchRec's, without rows."""
    placement: Any
    """TorchRec's plan of it."""


def plan_tables(
    tables: Mapping[str, EmbeddingTable], adagrad: RowwiseAdagradConfig, rate: float, request: ShardingRequest
) -> list[TablePlan]:
    """For `tables`, by their paths in the model, together. Not collective: the same everywhere for the same request.

    Row-wise, the vocabularies of a table are one: their rows are split as evenly, and exchanged at once.

    Raises ConfigError where they do not fit in the request's memory.
    """
    from torchrec.distributed.embedding import EmbeddingCollectionSharder
    from torchrec.distributed.planner import EmbeddingShardingPlanner
    from torchrec.distributed.planner.stats import NoopEmbeddingStats
    from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
    from torchrec.distributed.planner.types import ParameterConstraints, PlannerError

    parts = [_parts(at, path, table, request.sharding, len(tables)) for at, (path, table) in enumerate(tables.items())]
    collections = [
        _collection(own, table.embedding_dim, adagrad, rate) for own, table in zip(parts, tables.values(), strict=True)
    ]
    planner = EmbeddingShardingPlanner(
        topology=_topology(request),
        batch_size=request.batch_rows,
        # What else a worker holds is not in `memory`.
        storage_reservation=FixedPercentageStorageReservation(0.0),
        stats=NoopEmbeddingStats(),
        constraints={
            part.name: ParameterConstraints(
                sharding_types=KINDS[request.sharding],
                compute_kernels=["fused"],
                pooling_factors=[float(part.ids_a_row)],
            )
            for own in parts
            for part in own
        },
        debug=False,
    )
    try:
        plan = planner.plan(nn.ModuleList(collections), [EmbeddingCollectionSharder()]).plan
    except PlannerError as error:
        raise _too_large(tables, request) from error
    return [
        TablePlan(own, _shards(own, plan[str(at)]), collection, plan[str(at)])
        for at, (own, collection) in enumerate(zip(parts, collections, strict=True))
    ]


def in_words(plans: Sequence[TablePlan], most: int = 6) -> str:
    """What each table got, such as `row-wise over 2 workers: all vocabularies`; of many, `most` by name."""
    found: dict[str, list[str]] = {}
    for plan in plans:
        for part in plan.parts:
            ranks = [shard.rank for shard in plan.shards if shard.part == part]
            kind = plan.placement[part.name].sharding_type
            where = f"whole on worker {ranks[0]}" if kind == "table_wise" else f"row-wise over {len(ranks)} workers"
            found.setdefault(where, []).append(part.title)
    return "; ".join(
        f"{where}: {', '.join(titles[:most])}" + (f" and {len(titles) - most} more" if len(titles) > most else "")
        for where, titles in sorted(found.items())
    )


def _parts(at: int, path: str, table: EmbeddingTable, sharding: Sharding, tables: int) -> tuple[TablePart, ...]:
    title = "" if tables == 1 else f"{path.removesuffix('.embedding')} "
    if sharding == "row_wise":
        ids = sum(table.ids_a_row.values())
        return (TablePart(f"table_{at}", title + EVERY, 0, table.num_embeddings, ids),)
    ends = [*table.first_rows.values(), table.num_embeddings]
    return tuple(
        # A vocabulary may be named as no module can be.
        TablePart(f"table_{at}_{number}", title + name, first, last - first, table.ids_a_row[name])
        for number, (name, (first, last)) in enumerate(zip(table.first_rows, pairwise(ends), strict=True))
    )


def _collection(parts: Sequence[TablePart], dim: int, adagrad: RowwiseAdagradConfig, rate: float) -> nn.Module:
    from torchrec.modules.embedding_configs import EmbeddingConfig
    from torchrec.modules.embedding_modules import EmbeddingCollection
    from torchrec.optim import RowWiseAdagrad
    from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward

    configs = [
        EmbeddingConfig(name=part.name, num_embeddings=part.rows, embedding_dim=dim, feature_names=[part.name])
        for part in parts
    ]
    whole: nn.Module = EmbeddingCollection(tables=configs, device=torch.device("meta"))
    apply_optimizer_in_backward(RowWiseAdagrad, whole.parameters(), {"lr": rate, "eps": adagrad.eps})
    return whole


def _topology(request: ShardingRequest) -> Any:
    from torchrec.distributed.planner.types import KernelConfig, TopologyFactory, TrainerConfig

    # Machines of different sizes are no case of TorchRec's.
    even = request.ranks % request.ranks_a_machine == 0
    trainer = TrainerConfig(
        world_size=request.ranks,
        local_world_size=request.ranks_a_machine if even else request.ranks,
        hbm_cap_bytes=request.memory if request.device == "cuda" else None,
        ddr_cap_bytes=request.memory if request.device == "cpu" else None,
    )
    return TopologyFactory.create_topology(trainer, None, KernelConfig(compute_device=request.device))


def _shards(parts: Sequence[TablePart], placement: Any) -> tuple[Shard, ...]:
    found = []
    for part in parts:
        for shard in placement[part.name].sharding_spec.shards:
            first = part.first + shard.shard_offsets[0]
            found.append(Shard(part, shard.placement.rank(), first, first + shard.shard_sizes[0]))
    return tuple(found)


def _too_large(tables: Mapping[str, EmbeddingTable], request: ShardingRequest) -> ConfigError:
    numbers = sum(table.num_embeddings * table.embedding_dim for table in tables.values())
    memory = "" if request.memory is None else f"; {request.memory / 1e6:,.3g} MB on each"
    smaller = "" if request.sharding == "row_wise" else ", training.sharding=row_wise"
    return ConfigError(
        "The embedding tables do not fit on the workers.",
        where=f"training.sharding={request.sharding}, training.memory_per_worker",
        found=f"{4 * numbers / 1e6:,.3g} MB of weights, and what batches of {request.batch_rows:,} rows a worker "
        f"exchange, for {request.ranks} workers{memory}",
        fix=f"more workers, workers with more memory{smaller}, a smaller embedding_dim or global_batch_size, or a "
        "larger training_set.preprocessing.min_count",
    )
