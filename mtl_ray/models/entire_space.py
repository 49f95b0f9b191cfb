"""Probabilities along the task graph as logits, in log space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl_ray.models.outputs import Outputs
from mtl_ray.tasks import Task
from mtl_ray.tasks.graph import TaskGraph
from mtl_ray.tasks.task import at_least_float32


class EntireSpace(Outputs):
    """A task's logits are of the product of probabilities over it and its ancestors: equation 1 of Ma et al. (SIGIR
    2018), pCTCVR = pCTR * pCVR, on any task graph (see `TaskGraph`).

    With c_a the tower's logit of P(a | parents of a),

        log P(t) = sum over t and its ancestors a of log sigmoid(c_a),   logit(t) = log P(t) - log(1 - P(t))

    which the binary loss then reads as any other logit: the loss over all rows, the entire space, of Ma et al. Where
    the training rows of t were sampled or weighed, its logits are moved by what the task takes off again, so that
    products are always of true rates. A task without ancestors keeps its tower's logits.
    """

    def __init__(self, tasks: Mapping[str, Task], graph: TaskGraph) -> None:
        super().__init__(tasks)
        self.graph = graph
        self._shifts = {
            name: -float(task.corrected(torch.zeros(1, dtype=torch.float64))) for name, task in self._binary().items()
        }

    def forward(self, inputs: Sequence[Tensor], logits: dict[str, Tensor]) -> dict[str, Tensor]:  # noqa: ARG002
        log_rates = self.log_rates(logits)
        return {name: self._joint(index, logits, log_rates) for index, name in enumerate(self.graph.names)}

    def log_rates(self, logits: Mapping[str, Tensor]) -> dict[int, Tensor]:
        """log P(a | parents of a), `[B, 1]`, of the tasks on the graph's ways, by position."""
        rates = {}
        for index, name in enumerate(self.graph.names):
            if self.graph.parents[index]:
                rates[index] = F.logsigmoid(at_least_float32(logits[name]))
            elif self.graph.has_children(index):
                rates[index] = F.logsigmoid(at_least_float32(logits[name]) - self._shifts[name])
        return rates

    def initial_bias(self, task: str) -> Tensor:
        """The logit of rate / product of the ancestors' conditional rates, at least 1e-4 away from 0 and 1."""
        index = self.graph.names.index(task)
        if not self.graph.parents[index]:
            return super().initial_bias(task)
        rate = self._initial_rate(index)
        return torch.tensor([math.log(rate) - math.log1p(-rate)])

    def tower_is_own(self, index: int) -> bool:
        return not self.graph.has_children(index)

    def _joint(self, index: int, logits: Mapping[str, Tensor], log_rates: Mapping[int, Tensor]) -> Tensor:
        name = self.graph.names[index]
        if not self.graph.parents[index]:
            return logits[name]
        log_rate = log_rates[index]
        for ancestor in self.graph.ancestors(index):
            log_rate = log_rate + log_rates[ancestor]
        return logit_of(log_rate) + self._shifts[name]

    def _initial_rate(self, index: int) -> float:
        """P(a | parents of a) by the base rates."""
        name = self.graph.names[index]
        task = self.tasks[name]
        rate = float(torch.sigmoid(task.corrected(task.initial_bias().double())))
        for ancestor in self.graph.ancestors(index):
            rate /= self._initial_rate(ancestor)
        return min(max(rate, 1e-4), 1.0 - 1e-4)

    def _binary(self) -> dict[str, Task]:
        graph = self.graph
        used = [n for i, n in enumerate(graph.names) if graph.parents[i] or graph.has_children(i)]
        return {name: self.tasks[name] for name in used}


def logit_of(log_p: Tensor) -> Tensor:
    """log(p / (1 - p)) from log p < 0, finite and with finite gradients for p next to 0 or 1."""
    # 1 - p underflows next to 0: there p is as near to 1 as the dtype can say.
    log_p = log_p.clamp(max=-torch.finfo(log_p.dtype).tiny)
    near_one = log_p > -math.log(2.0)
    # Each branch sees only arguments at which its gradient is finite (Mächler, 2012, on log(1 - exp(-x))).
    by_expm1 = torch.log(-torch.expm1(torch.where(near_one, log_p, -math.log(2.0))))
    by_log1p = torch.log1p(-torch.exp(torch.where(near_one, -math.log(2.0), log_p)))
    return log_p - torch.where(near_one, by_expm1, by_log1p)
