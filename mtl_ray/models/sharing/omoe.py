"""One-gate mixture of experts: the model that Ma et al. (KDD 2018) compare MMoE with, after Jacobs et al., Adaptive
Mixtures of Local Experts, Neural Computation 3, 1991."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from mtl_ray.models.experts import Experts
from mtl_ray.models.gate import Gate, mixed
from mtl_ray.models.settings import HiddenSizes, ModelSettings
from mtl_ray.models.sharing.sharing import Encoded, Sharing
from mtl_ray.tasks.graph import TaskGraph


class OMoEConfig(ModelSettings):
    """`model: {name: omoe}`."""

    name: Literal["omoe"] = "omoe"
    num_experts: int = Field(default=8, ge=1)
    expert: HiddenSizes = (256, 128)
    """Hidden sizes of each expert."""

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> OMoE:
        (in_size,) = in_sizes
        return OMoE(self._experts(self.num_experts, in_size, self.expert), in_size, len(graph))


class OMoE(Sharing):
    """Equation 5 of Ma et al. (KDD 2018): y = sum_i g(x)_i f_i(x), here with g(x) = softmax(W_g x); y for all tasks."""

    def __init__(self, experts: Experts, in_size: int, num_tasks: int) -> None:
        super().__init__()
        self.experts = experts
        self.gate = Gate(experts.num_experts, in_size)
        self.out_sizes = (experts.out_size,) * num_tasks

    def forward(self, encoded: Encoded) -> tuple[Tensor, ...]:
        return (self.representation(encoded),) * len(self.out_sizes)

    def representation(self, encoded: Encoded) -> Tensor:
        """The mixed experts, `[B, H]`."""
        (x_BD,) = encoded
        return mixed(self.gate(x_BD), self.experts(x_BD))

    def task_parameters(self, index: int) -> list[nn.Parameter]:  # noqa: ARG002 - everything here is shared
        return []
