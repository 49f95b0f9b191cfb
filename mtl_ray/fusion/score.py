"""The score, with the weights that were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from mtl_ray.fusion.config import FusionConfig
from mtl_ray.schema import Settings

SMALLEST = 1e-12
"""Predictions below count as this in a product, whose logarithm is otherwise not defined."""


class Fusion(Settings):
    """A ranking score that is ready to use; `fusion.json` of a checkpoint."""

    formula: Literal["product", "sum"]
    weights: dict[str, float]
    declared: dict[str, float]
    """The config's weights, which tuning began with."""
    metric: dict[str, float] | None = None
    """What the weights were tuned for; None: they are as declared."""
    value: float | None = None
    """The metric with these weights, on validation."""
    value_of_declared: float | None = None
    """The same with the declared weights."""
    trials: int | None = None

    @classmethod
    def as_declared(cls, config: FusionConfig) -> Fusion:
        """The score without any tuning."""
        return cls(formula=config.formula, weights=config.weights, declared=config.weights)

    def score(self, predictions: Mapping[str, npt.NDArray[np.floating]]) -> npt.NDArray[np.float64]:
        """`[B]`, higher ranks first, from predictions `[B]` in label units by task (others are not looked at).

        The score of a product is its logarithm, sum of weight * log(prediction): it orders alike and neither under- nor
        overflows.
        """
        total: npt.NDArray[np.float64] | None = None
        for task, weight in self.weights.items():
            values = predictions[task].astype(np.float64)
            if self.formula == "product":
                values = np.log(np.maximum(values, SMALLEST))
            total = weight * values if total is None else total + weight * values
        assert total is not None
        return total
