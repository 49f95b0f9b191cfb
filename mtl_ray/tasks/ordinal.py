"""Ordinal tasks: how high on a scale of C ordered classes? C - 1 logits.

Source: CORN, Shi, Cao and Raschka 2021 (Deep neural networks for rank-consistent ordinal regression based on
conditional probabilities). Logit k is of P(y > k | y > k - 1), so that

    P(y > k) = product over j <= k of sigmoid(logit j)

falls in k whatever the logits: the ranks are consistent. Equation 3 sums, over k, the cross-entropy of whether y > k
over the rows with y > k - 1 alone. Of one row that is -log P(y = its class). Deviation: the paper divides by the number
of (row, k) pairs, here a task's loss is the mean over rows like every other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl_ray.metrics import Metric, ordinal_metrics
from mtl_ray.schema import LabelStatistics
from mtl_ray.tasks.classes import ClassTaskSettings, class_rates
from mtl_ray.tasks.task import NO_INPUTS, Task, at_least_float32


class OrdinalTaskConfig(ClassTaskSettings):
    """Label is one of `classes`, which are in rising order."""

    type: Literal["ordinal"] = "ordinal"

    def build(self, name: str, statistics: LabelStatistics) -> OrdinalTask:
        return OrdinalTask(name, self, statistics)


class OrdinalTask(Task):
    """`C_t` = number of classes - 1; predictions are class probabilities `[B, C]`."""

    config: OrdinalTaskConfig

    def __init__(self, name: str, config: OrdinalTaskConfig, statistics: LabelStatistics) -> None:
        super().__init__(name, config)
        self.num_outputs = len(config.classes) - 1
        rates = class_rates(statistics, len(config.classes))
        above = rates.flip(0).cumsum(0).flip(0)[1:]
        self._learnt = torch.log(above) - torch.log(rates[:-1])

    def loss(self, logits: Tensor, label: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:  # noqa: ARG002
        logits = at_least_float32(logits)
        step = torch.arange(self.num_outputs, device=logits.device)
        at = label.to(logits.dtype)[:, None]
        by_step = F.binary_cross_entropy_with_logits(logits, (at > step).to(logits.dtype), reduction="none")
        return torch.where(at > step - 1, by_step, 0.0).sum(dim=-1)

    def predict(self, logits: Tensor, inputs: Mapping[str, Tensor] = NO_INPUTS) -> Tensor:  # noqa: ARG002
        logits = at_least_float32(logits)
        above = torch.sigmoid(logits).cumprod(dim=-1)
        at_least = torch.cat([torch.ones_like(above[:, :1]), above], dim=-1)
        # The last class has no step above it.
        stays = torch.cat([torch.sigmoid(-logits), torch.ones_like(above[:, :1])], dim=-1)
        return at_least * stays

    def initial_bias(self) -> Tensor:
        """Log of rows above each class over rows in it; a class without any row counts as half a row."""
        return self._learnt.to(torch.float32)

    def metrics(self, grouped: bool) -> dict[str, Metric]:  # noqa: ARG002 - no metric of this type is grouped
        return ordinal_metrics(num_classes=len(self.config.classes))
