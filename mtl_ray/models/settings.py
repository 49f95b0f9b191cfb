"""Config fields of every model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from mtl_ray.models.encoders import FeatureEncoderConfig
from mtl_ray.models.mlp import Activation
from mtl_ray.models.model import MultiTaskModel
from mtl_ray.models.tower import Tower
from mtl_ray.schema import BatchSchema, Settings
from mtl_ray.tasks import Task

if TYPE_CHECKING:
    from mtl_ray.models.sharing.sharing import Sharing


class ModelSettings(Settings, ABC):
    """`model` of the config; `name` and the sizes of the shared part are added by each architecture."""

    encoder: FeatureEncoderConfig = FeatureEncoderConfig()
    tower: tuple[PositiveInt, ...] = (64,)
    """Hidden sizes of each task's own MLP; none: the head reads the shared part directly."""
    activation: Activation = "relu"
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of hidden units dropped after every hidden layer while training."""
    layer_norm: bool = False
    """Layer norm before every activation."""

    @abstractmethod
    def build_sharing(self, in_size: int, num_tasks: int) -> Sharing:
        """The part between encoder `[B, in_size]` and towers."""

    def build(self, schema: BatchSchema, tasks: Mapping[str, Task]) -> MultiTaskModel:
        """The model on the CPU in float32; the same torch seed gives the same weights bit for bit.

        `tasks` are those of `schema.tasks`, in whatever order; columns and towers follow the schema's.
        """
        if set(tasks) != set(schema.tasks):
            raise ValueError(f"tasks {sorted(tasks)} are not those of the schema: {sorted(schema.tasks)}")
        encoder = self.encoder.build(schema)
        sharing = self.build_sharing(encoder.out_size, len(schema.tasks))
        towers = {
            name: Tower(sharing.out_size, self.tower, tasks[name], self.activation, self.dropout, self.layer_norm)
            for name in schema.tasks
        }
        return MultiTaskModel(encoder, sharing, towers)
