"""Cross-stitch networks: Misra et al., Cross-stitch Networks for Multi-task Learning, CVPR 2016."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.models.experts import Experts
from mtl_ray.models.gate import side_by_side
from mtl_ray.models.settings import HiddenSizes, ModelSettings
from mtl_ray.models.sharing.sharing import Encoded, Sharing
from mtl_ray.tasks.graph import TaskGraph


class CrossStitchConfig(ModelSettings):
    """`model: {name: cross_stitch}`."""

    name: Literal["cross_stitch"] = "cross_stitch"
    bottom: HiddenSizes = (256, 128)
    """Hidden sizes of each task's column; a cross-stitch unit follows each layer."""
    own_share: float = Field(default=0.9, gt=0.0, le=1.0)
    """What a task takes of its own column at the start; the others divide the rest."""

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> CrossStitch:
        (in_size,) = in_sizes
        return CrossStitch(self._experts(len(graph), in_size, self.bottom), self.own_share)


class CrossStitch(Sharing):
    """One column a task; after each layer, equation 1 of the paper for T tasks: x'_t = sum_s alpha_ts x_s.

    Deviations: one alpha for the whole layer, where the paper has one for each channel (a dense layer has none); all
    columns read the same encoder, and the last layer is stitched too.
    """

    def __init__(self, columns: Experts, own_share: float) -> None:
        super().__init__()
        self.columns = columns
        num_tasks = columns.num_experts
        self.out_sizes = (columns.out_size,) * num_tasks
        others = (1.0 - own_share) / max(num_tasks - 1, 1)
        mixing = torch.full((num_tasks, num_tasks), others).fill_diagonal_(own_share if num_tasks > 1 else 1.0)
        self.stitches = nn.ModuleList(nn.ParameterList(row.clone() for row in mixing) for _ in columns.weights)
        """Per layer and task: alpha_t `[T]`."""

    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        mixed_TBH = encoded[0]
        for layer, rows in enumerate(self.stitches):
            assert isinstance(rows, nn.ParameterList)
            column_TBH = self.columns.layer(layer, mixed_TBH)
            if layer == len(self.stitches) - 1:
                column_TBH = self.cut(column_TBH.transpose(0, 1))[0].transpose(0, 1)
            mixed_TBH = torch.einsum("ts,sbh->tbh", torch.stack(tuple(rows)), column_TBH)
        return mixed_TBH.unbind(dim=0)

    def representation(self, encoded: Encoded) -> Tensor:
        """The columns' last layers side by side, before they are stitched: `[B, T * H]`."""
        mixed_TBH = encoded[0]
        column_TBH = mixed_TBH
        for layer, rows in enumerate(self.stitches):
            assert isinstance(rows, nn.ParameterList)
            column_TBH = self.columns.layer(layer, mixed_TBH)
            mixed_TBH = torch.einsum("ts,sbh->tbh", torch.stack(tuple(rows)), column_TBH)
        return side_by_side(column_TBH)

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        rows = self.stitches[-1]
        assert isinstance(rows, nn.ParameterList)
        return [rows[index]]
