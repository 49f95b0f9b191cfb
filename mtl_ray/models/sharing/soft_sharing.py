"""Soft parameter sharing: each task has a network of its own, and a penalty draws their parameters together (Duong et
al., Low Resource Dependency Parsing: Cross-lingual Parameter Sharing in a Neural Network Parser, ACL 2015:
the squared L2 distance)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.models.auxiliary import AuxiliaryLoss, penalty
from mtl_ray.models.mlp import MLP
from mtl_ray.models.settings import HiddenSizes, ModelSettings
from mtl_ray.models.sharing.sharing import Encoded, Sharing, parameters_of
from mtl_ray.tasks.graph import TaskGraph


class SoftSharingConfig(ModelSettings):
    """`model: {name: soft_sharing}`."""

    name: Literal["soft_sharing"] = "soft_sharing"
    bottom: HiddenSizes = (256, 128)
    """Hidden sizes of each task's MLP, below its tower."""
    distance_weight: float = Field(default=1e-4, ge=0.0, allow_inf_nan=False)
    """Coefficient of the penalty; 0: the tasks share their embeddings alone."""

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> SoftSharing:
        (in_size,) = in_sizes
        return SoftSharing([self._mlp(in_size, self.bottom) for _ in graph.names], self.distance_weight)


class SoftSharing(Sharing):
    """f_t(x) for task t; the penalty is distance_weight * mean over pairs (s, t) of |theta_s - theta_t|^2 over all
    weights, biases and norms of the MLPs.

    Deviations: any number of tasks, and none of them is the fixed source; the mean over pairs instead of their sum, so
    that the coefficient does not depend on the number of tasks. Embeddings are shared, towers are not drawn together.
    """

    auxiliary_names = ("parameter_distance",)

    def __init__(self, bottoms: Sequence[MLP], distance_weight: float) -> None:
        super().__init__()
        self.bottoms = nn.ModuleList(bottoms)
        self.out_sizes = [bottom.out_size for bottom in bottoms]
        self._distance_weight = distance_weight

    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        (x_BD,) = self.cut(encoded[0])
        return tuple(bottom(x_BD) for bottom in self.bottoms)

    def representation(self, encoded: Encoded) -> Tensor:
        """The encoded rows, `[B, D_in]`."""
        return encoded[0]

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        return parameters_of(self.bottoms[index])

    def auxiliary_losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> dict[str, AuxiliaryLoss]:  # noqa: ARG002
        total = torch.zeros((), dtype=next(self.parameters()).dtype, device=next(self.parameters()).device)
        for alike in zip(*(bottom.parameters() for bottom in self.bottoms), strict=True):
            stacked = torch.stack(alike)
            # The sum over pairs is T times the sum of the distances to the mean: T terms instead of T^2.
            total = total + (stacked - stacked.mean(dim=0)).square().sum()
        pairs_a_task = max(len(self.bottoms) - 1, 1) / 2
        return {"parameter_distance": penalty(self._distance_weight * total / pairs_a_task)}
