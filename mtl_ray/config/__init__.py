"""The configuration: one immutable tree, read from YAML and dotted overrides, refused with the nearest right word."""

from mtl_ray.config.load import VARIANT_KEYS, load_config, parse_config, read_yaml, set_value
from mtl_ray.config.tree import Config, EarlyStoppingConfig, EvaluationConfig, TrainingConfig

__all__ = [
    "VARIANT_KEYS",
    "Config",
    "EarlyStoppingConfig",
    "EvaluationConfig",
    "TrainingConfig",
    "load_config",
    "parse_config",
    "read_yaml",
    "set_value",
]
