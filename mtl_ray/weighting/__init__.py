"""Loss weighting, one method a file.

Adding one takes a new file here, with a config leaf (its `name`, `build`) and its `Weighting`, and one line in the
union below.
"""

from __future__ import annotations

from mtl_ray.weighting.static import StaticWeighting, StaticWeightingConfig
from mtl_ray.weighting.weighting import Weighting

WeightingConfig = StaticWeightingConfig
"""Union over the methods' leaves; it takes `Field(discriminator="name")` with its second member."""

__all__ = ["StaticWeighting", "StaticWeightingConfig", "Weighting", "WeightingConfig"]
