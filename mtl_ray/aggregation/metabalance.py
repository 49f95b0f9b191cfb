"""MetaBalance: He et al., MetaBalance: Improving Multi-Task Recommendations via Adapting Gradient Magnitudes of
Auxiliary Tasks, WWW 2022."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mtl_ray.aggregation.aggregation import Aggregation, AggregationContext, AggregationSettings
from mtl_ray.aggregation.gradients import TaskGradients
from mtl_ray.errors import ConfigError, nearest


class MetaBalanceConfig(AggregationSettings):
    """`aggregation: {name: metabalance, target: purchase}`."""

    name: Literal["metabalance"] = "metabalance"
    target: str | None = None
    """The task that the others are to help; null: the first."""
    relax: float = Field(default=0.7, ge=0.0, le=1.0)
    """1: the others' gradients get the target's length; 0: they keep their own."""
    beta: float = Field(default=0.9, ge=0.0, lt=1.0)
    """Of the running means of the lengths."""

    def build(self, context: AggregationContext) -> MetaBalance:
        return MetaBalance(context, self)

    def check_tasks(self, tasks: Sequence[str]) -> None:
        if self.target is not None and self.target not in tasks:
            closest = nearest(self.target, tasks)
            raise ConfigError(
                "MetaBalance's target is no task of the architecture.",
                where="aggregation.target",
                found=self.target,
                allowed=", ".join(tasks),
                fix=f"did you mean {closest}?" if closest else "name one of the tasks",
            )


class MetaBalance(Aggregation):
    """In each block, a shared tensor or a shared parameter, an auxiliary task's gradient is multiplied by

        relax * (m_target / m_t) + 1 - relax,   m the running mean of its length in that block

    algorithm 1 of the paper with the strategy that scales lengths both up and down. A task's running means rest in a
    step that has not observed it; without the target's gradient the others keep their lengths. Deviation: the means are
    corrected for their start at 0.
    """

    lengths: Tensor
    """Running means, float64 `[K, T]`; empty before the first step."""
    seen: Tensor
    """Steps that observed each task, int64 `[T]`."""

    def __init__(self, context: AggregationContext, config: MetaBalanceConfig) -> None:
        super().__init__(context)
        self._target = 0 if config.target is None else self.tasks.index(config.target)
        self._relax, self._beta = config.relax, config.beta
        self.register_buffer("lengths", torch.zeros(0, len(self.tasks), dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(len(self.tasks), dtype=torch.int64))

    def factors(self, gradients: TaskGradients) -> list[Tensor]:
        own = list(gradients.tasks)
        length_KT = gradients.gramians.diagonal(dim1=1, dim2=2).clamp(min=0.0).sqrt().to(self.lengths.device)
        if not len(self.lengths):
            self.lengths = self.lengths.new_zeros(len(length_KT), len(self.tasks))
        self.seen[own] += 1
        self.lengths[:, own] = self._beta * self.lengths[:, own] + (1.0 - self._beta) * length_KT
        if self._target not in own:
            return [torch.ones(len(own), dtype=torch.float64)] * len(length_KT)
        mean_KT = self.lengths[:, own] / (1.0 - self._beta ** self.seen[own])
        target_K1 = mean_KT[:, [own.index(self._target)]]
        ratio_KT = torch.where(mean_KT > 0, target_K1 / mean_KT, 1.0)
        return list((self._relax * ratio_KT + 1.0 - self._relax).cpu())

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: object) -> None:
        # The number of blocks is known from the first step on.
        self.lengths = torch.zeros_like(state_dict[f"{prefix}lengths"])
        super()._load_from_state_dict(state_dict, prefix, *rest)
