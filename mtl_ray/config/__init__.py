"""The configuration: one immutable tree, read from YAML and dotted overrides, refused with the nearest right word."""

from mtl_ray.config.load import load_config, parse_config
from mtl_ray.config.tree import Config, EarlyStoppingConfig, EvaluationConfig, TrainingConfig

__all__ = ["Config", "EarlyStoppingConfig", "EvaluationConfig", "TrainingConfig", "load_config", "parse_config"]
