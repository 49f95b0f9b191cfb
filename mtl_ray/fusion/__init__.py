"""One ranking score from the tasks' predictions: declared in the config, tuned on validation, stored with the model."""

from mtl_ray.fusion.config import FusionConfig, FusionTuningConfig
from mtl_ray.fusion.score import Fusion

__all__ = ["Fusion", "FusionConfig", "FusionTuningConfig"]
