"""Sharing architectures: how much of the network tasks have in common.

parallel   single_task, soft_sharing, shared_bottom, hierarchical, cross_stitch, snr, omoe, mmoe, cgc, ple, adatt, stem,
           home, pepnet
serial     esmm, escm2, aitm, dbmtl: along the task graph that the tasks' `given` draws
gated      settings and balance of those with softmax gates over experts

Adding one takes a new file here, with a `ModelSettings` leaf (its `name`, its sizes, `build_sharing`) and its
`Sharing` module, and one line in the union below. The contract tests enumerate the union, so they test it at once.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtl_ray.models.sharing.adatt import AdaTT, AdaTTConfig
from mtl_ray.models.sharing.aitm import AITM, AITMConfig
from mtl_ray.models.sharing.cgc import CGC, CGCConfig
from mtl_ray.models.sharing.cross_stitch import CrossStitch, CrossStitchConfig
from mtl_ray.models.sharing.dbmtl import DBMTL, DBMTLConfig
from mtl_ray.models.sharing.escm2 import ESCM2Config
from mtl_ray.models.sharing.esmm import ESMMConfig
from mtl_ray.models.sharing.hierarchical import Hierarchical, HierarchicalConfig
from mtl_ray.models.sharing.home import HoME, HoMEConfig
from mtl_ray.models.sharing.mmoe import MMoE, MMoEConfig
from mtl_ray.models.sharing.omoe import OMoE, OMoEConfig
from mtl_ray.models.sharing.pepnet import PEPNet, PEPNetConfig
from mtl_ray.models.sharing.ple import PLE, PLEConfig
from mtl_ray.models.sharing.shared_bottom import SharedBottom, SharedBottomConfig
from mtl_ray.models.sharing.sharing import Sharing
from mtl_ray.models.sharing.single_task import SingleTask, SingleTaskConfig
from mtl_ray.models.sharing.snr import SNR, SNRConfig
from mtl_ray.models.sharing.soft_sharing import SoftSharing, SoftSharingConfig
from mtl_ray.models.sharing.stem import STEM, STEMConfig

ModelConfig = Annotated[
    SingleTaskConfig
    | SoftSharingConfig
    | SharedBottomConfig
    | HierarchicalConfig
    | CrossStitchConfig
    | SNRConfig
    | OMoEConfig
    | MMoEConfig
    | CGCConfig
    | PLEConfig
    | AdaTTConfig
    | STEMConfig
    | HoMEConfig
    | PEPNetConfig
    | ESMMConfig
    | ESCM2Config
    | AITMConfig
    | DBMTLConfig,
    Field(discriminator="name"),
]

__all__ = [
    "AITM",
    "CGC",
    "DBMTL",
    "PLE",
    "SNR",
    "STEM",
    "AITMConfig",
    "AdaTT",
    "AdaTTConfig",
    "CGCConfig",
    "CrossStitch",
    "CrossStitchConfig",
    "DBMTLConfig",
    "ESCM2Config",
    "ESMMConfig",
    "Hierarchical",
    "HierarchicalConfig",
    "HoME",
    "HoMEConfig",
    "MMoE",
    "MMoEConfig",
    "ModelConfig",
    "OMoE",
    "OMoEConfig",
    "PEPNet",
    "PEPNetConfig",
    "PLEConfig",
    "SNRConfig",
    "STEMConfig",
    "SharedBottom",
    "SharedBottomConfig",
    "Sharing",
    "SingleTask",
    "SingleTaskConfig",
    "SoftSharing",
    "SoftSharingConfig",
]
