"""CAGrad: Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import quadprog
import torch
from pydantic import Field
from torch import Tensor

from mtl_ray.aggregation.aggregation import AggregationContext, AggregationSettings, GramianAggregation
from mtl_ray.aggregation.scale import scaled

SHORT = 1e-4
"""Length of the combined gradient, in those of the tasks, below which they are at a Pareto point: nothing moves, as in
TorchJD."""
RIDGE = 1e-12
"""On the diagonal of the Gramian of gradients of length 1 or so, which need not be independent."""
CLOSE = 1e-14

Array = npt.NDArray[np.float64]


class CAGradConfig(AggregationSettings):
    """`aggregation: {name: cagrad}`."""

    name: Literal["cagrad"] = "cagrad"
    c: float = Field(default=0.4, ge=0.0, allow_inf_nan=False)
    """Radius around the mean gradient, as a share of its length; 0: the mean."""

    def build(self, context: AggregationContext) -> CAGrad:
        return CAGrad(context, self.c)


class CAGrad(GramianAggregation):
    """The vector within c |g| of the mean gradient g that improves the worst-off task most: algorithm 1 of the paper.

    TorchJD hands its problem to a general solver, which takes a sixth of a step and leaves weights that are right to
    three digits; hence ours.
    """

    def __init__(self, context: AggregationContext, c: float) -> None:
        super().__init__(context)
        self._c = c

    def from_gramian(self, gramian_TT: Tensor, tasks: Sequence[int]) -> Tensor:  # noqa: ARG002
        return torch.from_numpy(conflict_averse(scaled(gramian_TT).numpy(), self._c))


def conflict_averse(gramian_TT: Array, c: float) -> Array:
    """Each task's factor, float64 `[T]`: 1 / T + lambda w_t, or zeros at a Pareto point.

    w minimises over the simplex (the paper's dual problem), with G the Gramian, b = G 1 / T and s = c |g|,

        w' b + s sqrt(w' G w).

    Its optimality conditions are those of the quadratic program w' b + lambda w' G w / 2 for lambda = s / sqrt(w' G w).
    lambda sqrt(w' G w) of the programs' solutions does not fall as lambda grows: the right one is found by bracketing.
    """
    tasks = len(gramian_TT)
    mean_T = gramian_TT.mean(axis=0)
    radius = c * math.sqrt(max(float(mean_T.mean()), 0.0))
    if radius == 0.0:
        return np.full(tasks, 1 / tasks)

    def too_long(log_lambda: float) -> float:
        scale = math.exp(log_lambda)
        weight_T = _on_the_simplex(gramian_TT, mean_T / scale)
        return scale * math.sqrt(max(float(weight_T @ gramian_TT @ weight_T), 0.0)) - radius

    longest = math.sqrt(float(gramian_TT.diagonal().max()))
    lowest, highest = math.log(radius / longest) - 1e-6, math.log(radius / SHORT)
    if too_long(highest) < 0.0:
        return np.zeros(tasks)
    from scipy.optimize import brentq  # every worker would wait half a second for it

    scale = math.exp(brentq(too_long, lowest, highest, xtol=CLOSE, rtol=CLOSE))
    found: Array = 1 / tasks + scale * _on_the_simplex(gramian_TT, mean_T / scale)
    return found


def _on_the_simplex(gramian_TT: Array, linear_T: Array) -> Any:
    """The w >= 0 with sum 1 that minimises w' G w / 2 + w' linear."""
    tasks = len(gramian_TT)
    constraints = np.concatenate([np.ones((tasks, 1)), np.eye(tasks)], axis=1)
    bounds = np.zeros(tasks + 1)
    bounds[0] = 1.0
    return quadprog.solve_qp(gramian_TT + RIDGE * np.eye(tasks), -linear_T, constraints, bounds, 1)[0]
