"""How a list, or a history of several lists side by side, becomes one vector.

any list or history    mean, attention
histories              din, transformer, hstu (they read the candidate), gru, lstm

Adding one takes a new file here, with a `SequenceSettings` leaf and its module, and one line in a union below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mtl_ray.models.encoders.choice import BY_NAME
from mtl_ray.models.encoders.sequences.attention import AttentionConfig
from mtl_ray.models.encoders.sequences.din import DINConfig
from mtl_ray.models.encoders.sequences.gru import GRUConfig
from mtl_ray.models.encoders.sequences.hstu import HSTUConfig
from mtl_ray.models.encoders.sequences.lstm import LSTMConfig
from mtl_ray.models.encoders.sequences.mean import MeanConfig
from mtl_ray.models.encoders.sequences.sequence import History, HistorySize, SequenceSettings, TargetSettings
from mtl_ray.models.encoders.sequences.transformer import TransformerConfig

PoolingChoice = MeanConfig | AttentionConfig

PoolingConfig = Annotated[PoolingChoice, Field(discriminator="name"), BY_NAME]

SequenceConfig = Annotated[
    PoolingChoice | DINConfig | GRUConfig | LSTMConfig | TransformerConfig | HSTUConfig,
    Field(discriminator="name"),
    BY_NAME,
]

__all__ = [
    "AttentionConfig",
    "DINConfig",
    "GRUConfig",
    "HSTUConfig",
    "History",
    "HistorySize",
    "LSTMConfig",
    "MeanConfig",
    "PoolingChoice",
    "PoolingConfig",
    "SequenceConfig",
    "SequenceSettings",
    "TargetSettings",
    "TransformerConfig",
]
