"""Loss weighting, one method a file.

Adding one takes a new file here, with a config leaf (its `name`, `build`) and its `Weighting`, and one line in the
union below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtl_ray.weighting.dwa import DWAWeighting, DWAWeightingConfig
from mtl_ray.weighting.static import StaticWeighting, StaticWeightingConfig
from mtl_ray.weighting.uncertainty import UncertaintyWeighting, UncertaintyWeightingConfig
from mtl_ray.weighting.weighting import Weighting

WeightingConfig = Annotated[
    StaticWeightingConfig | UncertaintyWeightingConfig | DWAWeightingConfig, Field(discriminator="name")
]

__all__ = [
    "DWAWeighting",
    "DWAWeightingConfig",
    "StaticWeighting",
    "StaticWeightingConfig",
    "UncertaintyWeighting",
    "UncertaintyWeightingConfig",
    "Weighting",
    "WeightingConfig",
]
