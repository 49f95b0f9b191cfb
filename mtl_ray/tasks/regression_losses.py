"""Losses of regression tasks.

With an identity link the output is the learnt label (transformed, standardised); with a log link (poisson, tweedie) it
is the logarithm of the predicted mean, of the label as it is.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mtl_ray.schema import Settings

LARGEST_LOG = 40.0
"""exp grows linearly beyond it: losses, and their gradients, stay finite in float32."""


class SquaredLoss(Settings):
    """`loss: squared`: towards the mean of the learnt label."""

    name: Literal["squared"] = "squared"

    def rows(self, output: Tensor, target: Tensor) -> Tensor:
        return torch.square(output - target)


class AbsoluteLoss(Settings):
    """`loss: absolute`: towards the median."""

    name: Literal["absolute"] = "absolute"

    def rows(self, output: Tensor, target: Tensor) -> Tensor:
        return torch.abs(output - target)


class HuberLoss(Settings):
    """`loss: {name: huber, delta}`: error^2 / 2 up to delta, delta * (|error| - delta / 2) beyond (Huber 1964)."""

    name: Literal["huber"] = "huber"
    delta: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    """In units of the learnt label: standard deviations where the task normalises."""

    def rows(self, output: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(output, target, reduction="none", delta=self.delta)


class QuantileLoss(Settings):
    """`loss: {name: quantile, level}`: the pinball loss (Koenker and Bassett 1978), towards the label's quantile.

    A quantile goes through log1p and back unchanged.
    """

    name: Literal["quantile"] = "quantile"
    level: float = Field(gt=0.0, lt=1.0)
    """Share of the labels that shall lie below the prediction."""

    def rows(self, output: Tensor, target: Tensor) -> Tensor:
        below = target - output
        return torch.maximum(self.level * below, (self.level - 1.0) * below)


class PoissonLoss(Settings):
    """`loss: poisson`: exp(z) - label * z, the negative log likelihood without log(label!)."""

    name: Literal["poisson"] = "poisson"

    def rows(self, output: Tensor, target: Tensor) -> Tensor:
        return exponential(output) - target * output


class TweedieLoss(Settings):
    """`loss: {name: tweedie, power}`: half the Tweedie deviance without its part that depends on the label alone.

    For amounts that are 0 in many rows and positive in the others: with 1 < power < 2 a sum of Poisson many gamma
    distributed amounts (Jorgensen 1987, Exponential dispersion models).
    """

    name: Literal["tweedie"] = "tweedie"
    power: float = Field(default=1.5, gt=1.0, lt=2.0)
    """The variance grows as mean ** power."""

    def rows(self, output: Tensor, target: Tensor) -> Tensor:
        p = self.power
        return exponential((2.0 - p) * output) / (2.0 - p) + target * exponential((1.0 - p) * output) / (p - 1.0)


RegressionLoss = Annotated[
    SquaredLoss | AbsoluteLoss | HuberLoss | QuantileLoss | PoissonLoss | TweedieLoss, Field(discriminator="name")
]


def exponential(z: Tensor) -> Tensor:
    """exp(z), continued by its tangent above `LARGEST_LOG`."""
    return torch.exp(z.clamp(max=LARGEST_LOG)) * (1.0 + F.relu(z - LARGEST_LOG))
