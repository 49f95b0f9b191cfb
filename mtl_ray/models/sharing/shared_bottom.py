"""Shared bottom: one MLP for all tasks (Caruana, Multitask Learning, Machine Learning 28, 1997)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from mtl_ray.models.mlp import MLP
from mtl_ray.models.settings import ModelSettings
from mtl_ray.models.sharing.sharing import Sharing


class SharedBottomConfig(ModelSettings):
    """`model: {name: shared_bottom}`."""

    name: Literal["shared_bottom"] = "shared_bottom"
    bottom: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (256, 128)
    """Hidden sizes of the shared MLP."""

    def build_sharing(self, in_size: int, num_tasks: int) -> SharedBottom:
        bottom = MLP(in_size, self.bottom, self.activation, self.dropout, self.layer_norm)
        return SharedBottom(bottom, num_tasks)


class SharedBottom(Sharing):
    """f(x) for every task: equation 1 of Ma et al. (KDD 2018), y_k = h_k(f(x))."""

    def __init__(self, bottom: MLP, num_tasks: int) -> None:
        super().__init__()
        self.bottom = bottom
        self.out_size = bottom.out_size
        self._num_tasks = num_tasks

    def forward(self, x_BD: Tensor) -> tuple[Tensor, ...]:
        return (self.bottom(x_BD),) * self._num_tasks

    def representation(self, x_BD: Tensor) -> Tensor:
        """The bottom's output."""
        shared: Tensor = self.bottom(x_BD)
        return shared

    def task_parameters(self, index: int) -> list[nn.Parameter]:  # noqa: ARG002 - everything here is shared
        return []
