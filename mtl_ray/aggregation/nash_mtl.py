"""Nash-MTL: Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from mtl_ray.aggregation.aggregation import AggregationContext, AggregationSettings, GramianAggregation


class NashMTLConfig(AggregationSettings):
    """`aggregation: {name: nash_mtl}`."""

    name: Literal["nash_mtl"] = "nash_mtl"
    max_norm: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    """Largest length of the aggregated gradient where gradients are compared; 0: none."""
    every: int = Field(default=1, ge=1)
    """Steps between two solutions of the bargaining problem; in between, the last factors hold."""
    max_iterations: int = Field(default=20, ge=1)

    def build(self, context: AggregationContext) -> NashMTL:
        return NashMTL(context, self)


class NashMTL(GramianAggregation):
    """The Nash bargaining solution: factors alpha with G alpha = 1 / alpha, by the sequence of convex problems of
    section 3.2 of the paper, as TorchJD solves them, each begun where the last step's ended."""

    last: Tensor
    """Each task's factor in the last step that observed it, before `max_norm`, float64 `[T]`; 1 at the start."""

    def __init__(self, context: AggregationContext, config: NashMTLConfig) -> None:
        super().__init__(context)
        self._config = config
        self._methods: dict[int, Any] = {}
        self.register_buffer("last", torch.ones(len(self.tasks), dtype=torch.float64))

    def from_gramian(self, gramian_TT: Tensor, tasks: Sequence[int]) -> Tensor:
        own = list(tasks)
        factor_T = self.last[own].cpu()
        if int(self.step) % self._config.every == 0:
            factor_T = self._solved(gramian_TT, factor_T)
            self.last[own] = factor_T.to(self.last.device)
        length = (factor_T @ gramian_TT @ factor_T).clamp(min=0.0).sqrt()
        if 0.0 < self._config.max_norm < length:
            factor_T = factor_T * (self._config.max_norm / length)
        return factor_T

    def _solved(self, gramian_TT: Tensor, begin_T: Tensor) -> Tensor:
        number = len(begin_T)
        if number not in self._methods:
            from torchjd.aggregation import NashMTL as Solver

            self._methods[number] = Solver(number, max_norm=0.0, optim_niter=self._config.max_iterations).weighting
        method = self._methods[number]
        method.prvs_alpha = begin_T.numpy().copy()
        # TorchJD multiplies the Jacobian with itself: any root of the Gramian does as well.
        values_T, vectors_TT = torch.linalg.eigh(gramian_TT)
        found: Tensor = method(vectors_TT * values_T.clamp(min=0.0).sqrt())
        return found.double()
