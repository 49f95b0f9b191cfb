"""Splits a model's tables over the ranks, and brings them together."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import nn

from mtl_ray.embedding_table import EmbeddingTable
from mtl_ray.errors import ConfigError
from mtl_ray.optim.embeddings import RowwiseAdagradConfig
from mtl_ray.optim.sharded.plan import ShardingRequest, TablePlan, plan_tables
from mtl_ray.optim.sharded.table import ShardedTable

HOW_TO_INSTALL = "pip install 'mtl-ray[torchrec]' with CUDA; on CPUs pip install --no-deps -r requirements-torchrec.txt"


def is_installed() -> bool:
    """Whether TorchRec is there."""
    return importlib.util.find_spec("torchrec") is not None and importlib.util.find_spec("fbgemm_gpu") is not None


def check_installed() -> None:
    """Raise ConfigError where TorchRec is not there."""
    if not is_installed():
        raise ConfigError(
            "Sharded embedding tables need TorchRec, which is not installed.",
            where="training.placement",
            found="sharded",
            allowed="replicated, without TorchRec",
            fix=HOW_TO_INSTALL,
        )


def table_plans(
    model: nn.Module, adagrad: RowwiseAdagradConfig, rate: float, request: ShardingRequest
) -> list[TablePlan]:
    """Where the rows of the model's tables would lie, as `plan_tables` says."""
    return plan_tables(_tables(model), adagrad, rate, request)


def shard_tables(
    model: nn.Module,
    seed: int,
    adagrad: RowwiseAdagradConfig,
    rate: float,
    request: ShardingRequest,
    device: torch.device,
) -> None:
    """Put a `ShardedTable` in the place of every deferred table. Collective; `request` is of the ranks that there are.

    Raises ConfigError as `plan_tables` does, on every rank.
    """
    plans = table_plans(model, adagrad, rate, request)
    for at, ((path, table), plan) in enumerate(zip(_tables(model).items(), plans, strict=True)):
        parent, _, name = path.rpartition(".")
        own_seed = hash((seed, at)) % 2**63
        setattr(model.get_submodule(parent), name, ShardedTable(table, plan, own_seed, device))


def _tables(model: nn.Module) -> dict[str, EmbeddingTable]:
    return {path: module for path, module in model.named_modules() if isinstance(module, EmbeddingTable)}


class HasModules(Protocol):
    """A model."""

    def modules(self) -> Iterator[nn.Module]: ...


def sharded_tables(model: HasModules) -> list[ShardedTable]:
    """In the order of the tables that they stand for."""
    return [module for module in model.modules() if isinstance(module, ShardedTable)]


def gather_tables(model: nn.Module) -> None:
    """Rank 0's `state_dict` has the whole tables from now on, until `release`. Collective; nothing without sharded
    tables."""
    for table in sharded_tables(model):
        table.gather()


def release_tables(model: nn.Module) -> None:
    """Forget what `gather_tables` gathered."""
    for table in sharded_tables(model):
        table.release()
