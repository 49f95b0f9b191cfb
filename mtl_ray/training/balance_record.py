"""What a training sees of its tasks' gradients, step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mtl_ray.training.backward import Compared

CHANGED = 0.999
"""Cosine of the aggregate to the plain sum below which a step counts as changed."""

LOOK_EVERY = 16
"""Steps between two whose inner products are found for the record alone, where the aggregation reads none."""


class BalanceRecord:
    """Cosines between the tasks' gradients, and how far the aggregate was from the plain sum; means over the steps
    since the last reset whose inner products are known, or over every sixteenth."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self._tasks = tuple(tasks)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        number = len(self._tasks)
        self._cosines = torch.zeros(number, number, dtype=torch.float64)
        self._pairs = torch.zeros(number, number, dtype=torch.float64)
        self._factors = torch.zeros(number, dtype=torch.float64)
        self._observed = torch.zeros(number, dtype=torch.float64)
        self._cosine_to_sum, self._changed, self._steps = 0.0, 0, 0
        self._seconds, self._timed = 0.0, 0
        self._added = 0

    def add(self, compared: Compared) -> None:
        """Add one step. Collective where inner products are not known; all ranks have added as many steps."""
        own = list(compared.tasks)
        look = compared.gramian_is_known or self._added % LOOK_EVERY == 0
        self._added += 1
        if not own or not look:
            return
        length_T = compared.gramian.diagonal().clamp(min=0.0).sqrt()
        product_TT = torch.outer(length_T, length_T)
        defined_TT = product_TT > 0
        pairs = torch.meshgrid(torch.tensor(own), torch.tensor(own), indexing="ij")
        self._cosines[pairs] += torch.where(defined_TT, compared.gramian / product_TT, 0.0)
        self._pairs[pairs] += defined_TT.double()
        if compared.factors is None:
            return
        self._factors[own] += compared.factors
        self._observed[own] += 1
        cosine = _cosine_to_sum(compared.gramian, compared.factors)
        if math.isfinite(cosine):
            self._cosine_to_sum += cosine
            self._changed += cosine < CHANGED
            self._steps += 1

    def took(self, seconds: float) -> None:
        """A step took this long on this rank."""
        self._seconds += seconds
        self._timed += 1

    def values(self) -> dict[str, float]:
        """By metric name: `balance/cosine/<one>/<other>`, `balance/<task>/factor`, `balance/cosine_to_sum`,
        `balance/changed` (share of the steps) and `balance/step_seconds`; what is not defined is left out."""
        found: dict[str, float] = {}
        for one, name in enumerate(self._tasks):
            for other in range(one + 1, len(self._tasks)):
                if self._pairs[one, other] > 0:
                    mean = float(self._cosines[one, other] / self._pairs[one, other])
                    found[f"balance/cosine/{name}/{self._tasks[other]}"] = mean
            if self._observed[one] > 0:
                found[f"balance/{name}/factor"] = float(self._factors[one] / self._observed[one])
        if self._steps:
            found["balance/cosine_to_sum"] = self._cosine_to_sum / self._steps
            found["balance/changed"] = self._changed / self._steps
        if self._timed:
            found["balance/step_seconds"] = self._seconds / self._timed
        return found


def _cosine_to_sum(gramian_TT: Tensor, factor_T: Tensor) -> float:
    """Of sum over t of factor * gradient and the sum of the gradients."""
    products = gramian_TT @ torch.stack([factor_T, torch.ones_like(factor_T)], dim=1)
    square = float(factor_T @ products[:, 0]) * float(products[:, 1].sum())
    return float(factor_T @ products[:, 1]) / math.sqrt(square) if square > 0 else math.nan
