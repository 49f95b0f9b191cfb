"""Target nodes that condition on each other: Wang et al., DBMTL: Deep Bayesian Multi-Target Learning for Recommender
Systems, arXiv 1902.09154, 2019."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from mtl_ray.models.mlp import MLP
from mtl_ray.models.settings import HiddenSizes, ModelSettings
from mtl_ray.models.sharing.sharing import Encoded, Sharing, parameters_of
from mtl_ray.tasks.graph import TaskGraph


class DBMTLConfig(ModelSettings):
    """`model: {name: dbmtl}`."""

    task_graph: ClassVar[Literal["required"]] = "required"

    name: Literal["dbmtl"] = "dbmtl"
    bottom: tuple[PositiveInt, ...] = (256,)
    """Hidden sizes of the shared layers; none: the tasks share embeddings alone."""
    specific: HiddenSizes = (128,)
    """Hidden sizes of each task's specific layers."""
    relation: HiddenSizes = (64,)
    """Hidden sizes of the Bayesian layer, which joins a task's own layers with those of the tasks that it is given."""

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> DBMTL:
        (in_size,) = in_sizes
        bottom = self._mlp(in_size, self.bottom)
        specific = [self._mlp(bottom.out_size, self.specific) for _ in graph.names]
        width = self.relation[-1]
        relation = [self._mlp(self.specific[-1] + width * len(parents), self.relation) for parents in graph.parents]
        return DBMTL(bottom, specific, relation, graph)


class DBMTL(Sharing):
    """With u_t = specific_t(bottom(x)):  h_t = relation_t([u_t, h_s for each parent s of t]), and the tower reads h_t:
    P(t | x, parents) as the factorisation of the joint probability along the graph asks.

    Deviation: parents are there as their hidden vectors h_s, in training as in prediction, not as their labels, which
    a prediction does not have. The logits are of the label in all rows that are observed, not of a product.
    """

    def __init__(self, bottom: MLP, specific: Sequence[MLP], relation: Sequence[MLP], graph: TaskGraph) -> None:
        super().__init__()
        self.graph = graph
        self.bottom = bottom
        self.specific = nn.ModuleList(specific)
        self.relation = nn.ModuleList(relation)
        self.out_sizes = [layers.out_size for layers in relation]

    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        (shared_BH,) = self.cut(self.bottom(encoded[0]))
        hidden: dict[int, Tensor] = {}
        for task in self.graph.order:
            parts = [self.specific[task](shared_BH), *(hidden[parent] for parent in self.graph.parents[task])]
            hidden[task] = self.relation[task](torch.cat(parts, dim=1))
        return tuple(hidden[task] for task in range(len(self.specific)))

    def representation(self, encoded: Encoded) -> Tensor:
        """The bottom's output; the encoded rows where it has no layer."""
        shared_BH: Tensor = self.bottom(encoded[0])
        return shared_BH

    def task_parameters(self, index: int) -> list[nn.Parameter]:
        """A task that others are given hands all that is below its tower on to them."""
        if self.graph.has_children(index):
            return []
        return parameters_of(self.specific[index], self.relation[index])
