"""Shared bottom: one MLP for all tasks (Caruana, Multitask Learning, Machine Learning 28, 1997)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from mtl_ray.models.mlp import MLP
from mtl_ray.models.settings import HiddenSizes, ModelSettings
from mtl_ray.models.sharing.sharing import Encoded, Sharing
from mtl_ray.tasks.graph import TaskGraph


class SharedBottomConfig(ModelSettings):
    """`model: {name: shared_bottom}`."""

    name: Literal["shared_bottom"] = "shared_bottom"
    bottom: HiddenSizes = (256, 128)
    """Hidden sizes of the shared MLP."""

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> SharedBottom:
        (in_size,) = in_sizes
        return SharedBottom(self._mlp(in_size, self.bottom), len(graph))


class SharedBottom(Sharing):
    """f(x) for every task: equation 1 of Ma et al. (KDD 2018), y_k = h_k(f(x))."""

    def __init__(self, bottom: MLP, num_tasks: int) -> None:
        super().__init__()
        self.bottom = bottom
        self.out_sizes = (bottom.out_size,) * num_tasks

    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        return self.cut(self.bottom(encoded[0])) * len(self.out_sizes)

    def representation(self, encoded: Encoded) -> Tensor:
        """The bottom's output; the encoded rows where it has no layer."""
        shared: Tensor = self.bottom(encoded[0])
        return shared

    def task_parameters(self, index: int) -> list[nn.Parameter]:  # noqa: ARG002 - everything here is shared
        return []
