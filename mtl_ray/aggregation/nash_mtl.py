"""Nash-MTL: Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mtl_ray.aggregation.aggregation import AggregationContext, AggregationSettings, GramianAggregation

RIDGE = 1e-10
"""On the diagonal of the Gramian of unit gradients: where gradients cancel, the bargain has no finite solution."""
CLOSE = 1e-12
"""Newton decrement, squared and halved, at which the solution is reached: what the objective can still fall by."""


class NashMTLConfig(AggregationSettings):
    """`aggregation: {name: nash_mtl}`."""

    name: Literal["nash_mtl"] = "nash_mtl"
    max_norm: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    """Largest length of the aggregated gradient where gradients are compared; 0: none."""
    every: int = Field(default=1, ge=1)
    """Steps between two solutions of the bargaining problem; in between, the last factors hold."""
    max_iterations: int = Field(default=100, ge=1)

    def build(self, context: AggregationContext) -> NashMTL:
        return NashMTL(context, self)


class NashMTL(GramianAggregation):
    """The Nash bargaining solution: factors alpha > 0 with G alpha = 1 / alpha (claim 3.1 of the paper).

    Deviation: the paper, and TorchJD after it, approach alpha by up to 20 convex programs a step, each for a general
    solver, which takes longer than the step itself. G is positive semi-definite, and so alpha is the minimum of

        alpha' G alpha / 2 - sum over t of log alpha_t,

    which is convex and self-concordant: Newton's method, damped while far away, finds it to the last digits in a few
    steps of `[T, T]` algebra (Boyd and Vandenberghe, Convex Optimization, section 9.6.4). It begins at 1 / length,
    where it would end if the gradients were orthogonal.
    """

    last: Tensor
    """Each task's factor in the last step that observed it, before `max_norm`, float64 `[T]`; 1 at the start."""

    def __init__(self, context: AggregationContext, config: NashMTLConfig) -> None:
        super().__init__(context)
        self._config = config
        self.register_buffer("last", torch.ones(len(self.tasks), dtype=torch.float64))

    def from_gramian(self, gramian_TT: Tensor, tasks: Sequence[int]) -> Tensor:
        own = list(tasks)
        if int(self.step) % self._config.every == 0:
            factor_T = bargained(gramian_TT, self._config.max_iterations)
            self.last[own] = factor_T.to(self.last.device)
        else:
            factor_T = self.last[own].cpu()
        length = (factor_T @ gramian_TT @ factor_T).clamp(min=0.0).sqrt()
        if 0.0 < self._config.max_norm < length:
            factor_T = factor_T * (self._config.max_norm / length)
        return factor_T


def bargained(gramian_TT: Tensor, max_iterations: int) -> Tensor:
    """Alpha, float64 `[T]`, by damped Newton steps on the gradients scaled to length 1.

    A task whose gradient is 0 has nothing to bargain for: its factor is 0.
    """
    length_T = gramian_TT.diagonal().clamp(min=0.0).sqrt()
    some_T = length_T > 0
    unit_T = torch.where(some_T, 1.0 / length_T, 0.0)
    cosine_TT = gramian_TT * torch.outer(unit_T, unit_T)
    # A unit diagonal for the tasks without a gradient too, so that they do not touch the others.
    cosine_TT = cosine_TT + torch.diag(torch.where(some_T, RIDGE, 1.0))
    alpha_T = torch.ones_like(length_T)
    for _ in range(max_iterations):
        slope_T = cosine_TT @ alpha_T - 1.0 / alpha_T
        down_T = torch.linalg.solve(cosine_TT + torch.diag(alpha_T**-2), slope_T)
        decrement = float((slope_T @ down_T).clamp(min=0.0).sqrt())
        # A self-concordant function's damped step: it stays where the logarithms are defined.
        alpha_T = alpha_T - down_T / (1.0 + decrement if decrement > 0.25 else 1.0)
        if decrement**2 / 2 < CLOSE:
            break
    return alpha_T * unit_T
