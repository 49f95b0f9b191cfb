"""The geometric mean of the losses: Chennupati et al., MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss
Strategy for Multi-Task Learning, CVPR Workshops 2019."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from mtl_ray.tasks.task import TaskSettings
from mtl_ray.weighting.positive import LEAST_LOSS, check_positive
from mtl_ray.weighting.settings import WeightingSettings
from mtl_ray.weighting.weighting import StepLosses, Weighting, WeightingContext


class GeometricMeanWeightingConfig(WeightingSettings):
    """`weighting: {name: geometric_mean}`."""

    name: Literal["geometric_mean"] = "geometric_mean"

    def build(self, context: WeightingContext) -> GeometricMeanWeighting:
        return GeometricMeanWeighting(context)

    def check_tasks(self, tasks: Mapping[str, TaskSettings]) -> None:
        check_positive("geometric_mean", tasks)


class GeometricMeanWeighting(Weighting):
    """The product over t of L_t ^ v_t with v_t = w_t / (sum of w over the tasks that some rank has observed), and v_t =
    0 for the others: the geometric loss strategy, with the config's weights as exponents.

    The gradient is that of a weighted sum with the weights product * v_t / L_t. Losses count as at least 1e-12.
    """

    def weights(self, losses: StepLosses) -> Tensor:
        exponent_T = torch.where(losses.observed, self.task_weights, 0.0)
        exponent_T = exponent_T / exponent_T.sum().clamp(min=torch.finfo(torch.float64).tiny)
        value_T = torch.where(losses.observed, losses.values, 1.0).clamp(min=LEAST_LOSS)
        mean = torch.exp(torch.dot(exponent_T, value_T.log()))
        return mean * exponent_T / value_T
