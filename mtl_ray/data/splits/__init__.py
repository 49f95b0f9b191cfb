"""Splits: which rows train, which validate and which test.

split       what every kind has; PARTS
time, random, stratified, group, k_fold   the kinds, one a file
hashing, hash_plan                        draws by row or group, and cuts between them

Adding a kind takes one new file and one member of the union below.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mtl_ray.data.splits.group import GroupSplitConfig
from mtl_ray.data.splits.k_fold import KFoldSplitConfig
from mtl_ray.data.splits.random import RandomSplitConfig
from mtl_ray.data.splits.split import PARTS, Scan, SplitBoundaries, SplitPlan
from mtl_ray.data.splits.stratified import StratifiedSplitConfig
from mtl_ray.data.splits.time import TimeSplitConfig

__all__ = [
    "PARTS",
    "GroupSplitConfig",
    "KFoldSplitConfig",
    "RandomSplitConfig",
    "Scan",
    "SplitBoundaries",
    "SplitConfig",
    "SplitPlan",
    "StratifiedSplitConfig",
    "TimeSplitConfig",
]


def _by_time_if_not_said(value: Any) -> Any:
    return {"by": "time", **value} if isinstance(value, dict) else value


SplitConfig = Annotated[
    TimeSplitConfig | RandomSplitConfig | StratifiedSplitConfig | GroupSplitConfig | KFoldSplitConfig,
    Field(discriminator="by"),
    BeforeValidator(_by_time_if_not_said),
]
