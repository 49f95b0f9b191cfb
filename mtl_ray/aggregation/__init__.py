"""Aggregation of the tasks' gradients (gradient surgery), one method a file.

Adding one takes a new file here, with a config leaf (its `name`, `build`) and its `Aggregation`, and one line in the
union below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtl_ray.aggregation.aggregation import Aggregation, AggregationContext, AggregationSettings, Place
from mtl_ray.aggregation.aligned_mtl import AlignedMTLConfig
from mtl_ray.aggregation.cagrad import CAGradConfig
from mtl_ray.aggregation.graddrop import GradDropConfig
from mtl_ray.aggregation.gradients import TaskGradients, combined
from mtl_ray.aggregation.gradvac import GradVacConfig
from mtl_ray.aggregation.imtl_g import IMTLGConfig
from mtl_ray.aggregation.metabalance import MetaBalanceConfig
from mtl_ray.aggregation.mgda import MGDAConfig
from mtl_ray.aggregation.nash_mtl import NashMTLConfig
from mtl_ray.aggregation.pcgrad import PCGradConfig
from mtl_ray.aggregation.sum import SumConfig
from mtl_ray.aggregation.upgrad import UPGradConfig

AggregationConfig = Annotated[
    SumConfig
    | MGDAConfig
    | PCGradConfig
    | CAGradConfig
    | GradVacConfig
    | IMTLGConfig
    | NashMTLConfig
    | AlignedMTLConfig
    | UPGradConfig
    | GradDropConfig
    | MetaBalanceConfig,
    Field(discriminator="name"),
]

__all__ = [
    "Aggregation",
    "AggregationConfig",
    "AggregationContext",
    "AggregationSettings",
    "AlignedMTLConfig",
    "CAGradConfig",
    "GradDropConfig",
    "GradVacConfig",
    "IMTLGConfig",
    "MGDAConfig",
    "MetaBalanceConfig",
    "NashMTLConfig",
    "PCGradConfig",
    "Place",
    "SumConfig",
    "TaskGradients",
    "UPGradConfig",
    "combined",
]
