"""What is computed across the fields, before the sharing structure.

Adding one takes a new file here, with an `InteractionSettings` leaf and its `Interaction`, and one line in the union
below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtl_ray.models.encoders.choice import BY_NAME
from mtl_ray.models.encoders.interactions.dcn_v2 import DCNv2Config
from mtl_ray.models.encoders.interactions.dlrm_dot import DLRMDotConfig
from mtl_ray.models.encoders.interactions.final_mlp import FinalMLPConfig
from mtl_ray.models.encoders.interactions.fm import FMConfig
from mtl_ray.models.encoders.interactions.interaction import Interaction, InteractionSettings
from mtl_ray.models.encoders.interactions.none import NoInteractionConfig

InteractionConfig = Annotated[
    NoInteractionConfig | FMConfig | DCNv2Config | DLRMDotConfig | FinalMLPConfig,
    Field(discriminator="name"),
    BY_NAME,
]

__all__ = [
    "DCNv2Config",
    "DLRMDotConfig",
    "FMConfig",
    "FinalMLPConfig",
    "Interaction",
    "InteractionConfig",
    "InteractionSettings",
    "NoInteractionConfig",
]
