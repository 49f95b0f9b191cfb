"""Embedding tables whose rows are split over the workers, by TorchRec (Ivchenko et al., RecSys 2022)."""

from __future__ import annotations

from mtl_ray.optim.sharded.optimizer import ShardedOptimizer
from mtl_ray.optim.sharded.place import (
    HOW_TO_INSTALL,
    check_installed,
    gather_tables,
    is_installed,
    release_tables,
    shard_tables,
    sharded_tables,
    table_plans,
)
from mtl_ray.optim.sharded.plan import Sharding, ShardingRequest, in_words
from mtl_ray.optim.sharded.table import ShardedTable

__all__ = [
    "HOW_TO_INSTALL",
    "ShardedOptimizer",
    "ShardedTable",
    "Sharding",
    "ShardingRequest",
    "check_installed",
    "gather_tables",
    "in_words",
    "is_installed",
    "release_tables",
    "shard_tables",
    "sharded_tables",
    "table_plans",
]
