"""How numbers enter: plain as they are, the others as one embedding a column.

Adding one takes a new file here, with a `NumericSettings` leaf and its module, and one line in the union below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtl_ray.models.encoders.choice import BY_NAME
from mtl_ray.models.encoders.numeric.bucketised import BucketisedConfig
from mtl_ray.models.encoders.numeric.numeric import NumericSettings
from mtl_ray.models.encoders.numeric.piecewise_linear import PiecewiseLinearConfig
from mtl_ray.models.encoders.numeric.plain import PlainConfig
from mtl_ray.models.encoders.numeric.plr import PLRConfig

NumericChoice = PlainConfig | BucketisedConfig | PiecewiseLinearConfig | PLRConfig

NumericConfig = Annotated[NumericChoice, Field(discriminator="name"), BY_NAME]

__all__ = [
    "BucketisedConfig",
    "NumericChoice",
    "NumericConfig",
    "NumericSettings",
    "PLRConfig",
    "PiecewiseLinearConfig",
    "PlainConfig",
]
