"""What an interaction is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from mtl_ray.errors import ConfigError
from mtl_ray.models.encoders.layout import FieldLayout
from mtl_ray.schema import Settings


class Interaction(nn.Module, ABC):
    """`[B, layout.size]` to `[B, out_size]`."""

    out_size: int
    computes: ClassVar[bool] = True
    """Whether anything is done to the row, so that it is wanted in float32 under autocast, too."""

    @abstractmethod
    def forward(self, x_BI: Tensor) -> Tensor: ...


class InteractionSettings(Settings, ABC):
    """`model.encoder.interaction`."""

    @abstractmethod
    def build(self, layout: FieldLayout) -> Interaction:
        """The module for rows laid out like this."""

    def check(self, layout: FieldLayout) -> None:
        """Raise `ConfigError` where it cannot be built for this layout."""


def check_two_fields(name: str, layout: FieldLayout) -> None:
    """Raise `ConfigError` where there are no two fields to interact."""
    if len(layout.names) < 2:
        raise ConfigError(
            f"The interaction {name} needs two fields at least.",
            where="model.encoder.interaction.name",
            found=", ".join(layout.names) or "no field",
            allowed="categorical features, lists, projected vectors, and numbers whose encoder is not plain",
            fix="give the numbers an embedding (model.encoder.numeric), or choose interaction none or dcn_v2",
        )
