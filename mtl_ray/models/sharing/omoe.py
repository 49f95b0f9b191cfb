"""One-gate mixture of experts: the model that Ma et al. (KDD 2018) compare MMoE with, after Jacobs et al., Adaptive
Mixtures of Local Experts, Neural Computation 3, 1991."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from mtl_ray.models.experts import Experts
from mtl_ray.models.gate import Gate, Gating, Mixed
from mtl_ray.models.settings import HiddenSizes
from mtl_ray.models.sharing.gated import GatedSettings, GatedSharing
from mtl_ray.models.sharing.sharing import Encoded, GateKey
from mtl_ray.tasks.graph import TaskGraph


class OMoEConfig(GatedSettings):
    """`model: {name: omoe}`."""

    name: Literal["omoe"] = "omoe"
    num_experts: int = Field(default=8, ge=1)
    expert: HiddenSizes = (256, 128)
    """Hidden sizes of each expert."""

    def build_sharing(self, in_sizes: Sequence[int], graph: TaskGraph) -> OMoE:
        (in_size,) = in_sizes
        experts = self._experts(self.num_experts, in_size, self.expert)
        return OMoE(experts, in_size, len(graph), self._gating, self.load_balance)


class OMoE(GatedSharing):
    """Equation 5 of Ma et al. (KDD 2018): y = sum_i g(x)_i f_i(x), here with g(x) = softmax(W_g x); y for all tasks."""

    def __init__(self, experts: Experts, in_size: int, num_tasks: int, gating: Gating, load_balance: float) -> None:
        super().__init__(load_balance)
        self.experts = experts
        self.gate = Gate(experts.num_experts, in_size, gating)
        self.out_sizes = (experts.out_size,) * num_tasks

    def mix(self, encoded: Encoded) -> tuple[tuple[Tensor, ...], dict[GateKey, Tensor]]:
        """One gate, over the experts."""
        output_BH, gate_BE = self._mixed(encoded)
        return self.cut(output_BH) * len(self.out_sizes), {(1, "shared gate"): gate_BE}

    def representation(self, encoded: Encoded) -> Tensor:
        """The mixed experts, `[B, H]`."""
        return self._mixed(encoded).output

    def task_parameters(self, index: int) -> list[nn.Parameter]:  # noqa: ARG002 - everything here is shared
        return []

    def _mixed(self, encoded: Encoded) -> Mixed:
        (x_BD,) = encoded
        mixed: Mixed = self.gate(x_BD, self.experts(x_BD))
        return mixed
