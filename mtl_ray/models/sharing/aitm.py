"""Information transfer along the task graph: Xi et al., Modeling the Sequential Dependence among Audience Multi-step
Conversions with Multi-task Learning in Targeted Display Advertising, KDD 2021."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtl_ray.batch import Batch
from mtl_ray.models.auxiliary import AuxiliaryLoss, population_weight
from mtl_ray.models.mlp import MLP
from mtl_ray.models.outputs import Outputs
from mtl_ray.models.settings import HiddenSizes, ModelSettings
from mtl_ray.models.sharing.sharing import Encoded, Sharing, parameters_of
from mtl_ray.tasks import BinaryTask, Task
from mtl_ray.tasks.graph import TaskGraph


class AITMConfig(ModelSettings):
    """`model: {name: aitm}`."""

    task_graph: ClassVar[Literal["required"]] = "required"

    name: Literal["aitm"] = "aitm"
    bottom: HiddenSizes = (256, 128)
    """Hidden sizes of each task's MLP over the shared embeddings; the last is the width of what is transferred."""
    calibrator_weight: float = Field(default=0.6, ge=0.0, allow_inf_nan=False)
    """Coefficient of the calibrator, which holds a task's probability below those of the tasks that it is given."""

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> AITM:
        (in_size,) = in_sizes
        bottoms = [self._mlp(in_size, self.bottom) for _ in graph.names]
        size = self.bottom[-1]
        transfers = [self._mlp(size, (size,)) for _ in graph.edges]
        return AITM(bottoms, transfers, graph)

    def build_outputs(self, sharing: Sharing, tasks: Mapping[str, Task], graph: TaskGraph) -> Calibrator:  # noqa: ARG002
        return Calibrator(tasks, graph, self.calibrator_weight)


class AdaptiveTransfer(nn.Module):
    """The AIT module: attention over what arrives, u_1 ... u_n, `[B, n, H]` to `[B, H]`. With three linear maps h_1,
    h_2, h_3: score_i = <h_2(u_i), h_3(u_i)> / sqrt(H), result = sum_i softmax(score)_i h_1(u_i)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.value = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, size, bias=False)
        self.query = nn.Linear(size, size, bias=False)

    def forward(self, u_BNH: Tensor) -> Tensor:
        score_BN = (self.key(u_BNH) * self.query(u_BNH)).sum(dim=-1) / math.sqrt(u_BNH.shape[-1])
        return torch.einsum("bn,bnh->bh", score_BN.softmax(dim=-1), self.value(u_BNH))


class AITM(Sharing):
    """q_t = f_t(x); z_t = AIT(q_t, g_st(z_s) for each parent s of t), z_t = q_t without parents; the tower reads z_t.

    Deviation: any task graph, with one transfer g for each edge, where the paper has a chain.
    """

    def __init__(self, bottoms: Sequence[MLP], transfers: Sequence[MLP], graph: TaskGraph) -> None:
        super().__init__()
        self.graph = graph
        self.bottoms = nn.ModuleList(bottoms)
        self.transfers = nn.ModuleList(transfers)
        """One an edge, in the order of `graph.edges`."""
        size = bottoms[0].out_size
        self.out_sizes = (size,) * len(bottoms)
        self.attention = nn.ModuleDict(
            {str(task): AdaptiveTransfer(size) for task, parents in enumerate(graph.parents) if parents}
        )

    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        (x_BD,) = self.cut(encoded[0])
        arrived: dict[int, Tensor] = {}
        for task in self.graph.order:
            own_BH = self.bottoms[task](x_BD)
            parts = [
                transfer(arrived[parent])
                for transfer, (parent, child) in zip(self.transfers, self.graph.edges, strict=True)
                if child == task
            ]
            arrived[task] = self.attention[str(task)](torch.stack([own_BH, *parts], dim=1)) if parts else own_BH
        return tuple(arrived[task] for task in range(len(self.bottoms)))

    def representation(self, encoded: Encoded) -> Tensor:
        """The encoded rows, `[B, D_in]`."""
        return encoded[0]

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        """A task that others are given transfers all that is below its tower to them."""
        if self.graph.has_children(index):
            return []
        own = [self.bottoms[index]]
        own += [
            transfer for transfer, (_, child) in zip(self.transfers, self.graph.edges, strict=True) if child == index
        ]
        if self.graph.parents[index]:
            own.append(self.attention[str(index)])
        return parameters_of(*own)


class Calibrator(Outputs):
    """The behavioural expectation calibrator: calibrator_weight * mean over rows of the sum over edges (s, t) of
    max(p_t - p_s, 0), for edges between binary tasks. All rows count, by their sample weights; the mean is that over
    the rows before sampling, and the probabilities are those that the tasks predict."""

    auxiliary_names = ("calibrator",)

    def __init__(self, tasks: Mapping[str, Task], graph: TaskGraph, weight: float) -> None:
        super().__init__(tasks)
        names = graph.names
        self._edges = [
            (names[parent], names[child])
            for parent, child in graph.edges
            if isinstance(tasks[names[parent]], BinaryTask) and isinstance(tasks[names[child]], BinaryTask)
        ]
        self._weight = weight

    def auxiliary_losses(self, batch: Batch, logits: Mapping[str, Tensor]) -> dict[str, AuxiliaryLoss]:
        row_weight_B = population_weight(batch, self.tasks)
        total = row_weight_B.new_zeros(())
        for parent, child in self._edges:
            child_B = self.tasks[child].predict(logits[child], batch.task_inputs)
            above_B = child_B - self.tasks[parent].predict(logits[parent], batch.task_inputs)
            total = total + torch.dot(row_weight_B.to(above_B.dtype), torch.relu(above_B))
        return {"calibrator": AuxiliaryLoss(self._weight * total, row_weight_B.sum())}
