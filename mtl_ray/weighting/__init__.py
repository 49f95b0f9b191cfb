"""Loss weighting, one method a file.

Adding one takes a new file here, with a config leaf (its `name`, `build`) and its `Weighting`, and one line in the
union below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtl_ray.weighting.dwa import DWAWeightingConfig
from mtl_ray.weighting.famo import FAMOWeightingConfig
from mtl_ray.weighting.geometric_mean import GeometricMeanWeightingConfig
from mtl_ray.weighting.gradnorm import GradNormWeightingConfig
from mtl_ray.weighting.imtl_l import IMTLLWeightingConfig
from mtl_ray.weighting.inverse_rate import InverseRateWeightingConfig
from mtl_ray.weighting.random import RandomWeightingConfig
from mtl_ray.weighting.schedule import ScheduleWeightingConfig
from mtl_ray.weighting.static import StaticWeightingConfig
from mtl_ray.weighting.stch import STCHWeightingConfig
from mtl_ray.weighting.uncertainty import UncertaintyWeightingConfig
from mtl_ray.weighting.weighting import StepLosses, Weighting, WeightingContext

WeightingConfig = Annotated[
    StaticWeightingConfig
    | UncertaintyWeightingConfig
    | DWAWeightingConfig
    | RandomWeightingConfig
    | GradNormWeightingConfig
    | IMTLLWeightingConfig
    | GeometricMeanWeightingConfig
    | STCHWeightingConfig
    | FAMOWeightingConfig
    | ScheduleWeightingConfig
    | InverseRateWeightingConfig,
    Field(discriminator="name"),
]

__all__ = [
    "DWAWeightingConfig",
    "FAMOWeightingConfig",
    "GeometricMeanWeightingConfig",
    "GradNormWeightingConfig",
    "IMTLLWeightingConfig",
    "InverseRateWeightingConfig",
    "RandomWeightingConfig",
    "STCHWeightingConfig",
    "ScheduleWeightingConfig",
    "StaticWeightingConfig",
    "StepLosses",
    "UncertaintyWeightingConfig",
    "Weighting",
    "WeightingConfig",
    "WeightingContext",
]
