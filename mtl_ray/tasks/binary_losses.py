"""Losses of binary tasks, and what they do to probabilities."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mtl_ray.schema import Settings


class CrossEntropy(Settings):
    """`loss: bce`: binary cross-entropy."""

    name: Literal["bce"] = "bce"


class FocalLoss(Settings):
    """`loss: {name: focal}`: cross-entropy times (1 - p of what happened) ** gamma.

    Source: Lin et al. ICCV 2017 (Focal loss for dense object detection), equation 5.
    """

    name: Literal["focal"] = "focal"
    gamma: float = Field(default=2.0, ge=0.0, le=20.0)
    alpha: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Factor of a positive row; a negative one has 1 - alpha. null: both have 1."""


BinaryLoss = Annotated[CrossEntropy | FocalLoss, Field(discriminator="name")]


def focal_loss(logit: Tensor, target: Tensor, gamma: float, alpha: float | None) -> Tensor:
    """`[B]` for logit and target `[B]`; a target between 0 and 1 (smoothed) mixes the losses of both labels."""
    positive, negative = _of_happened(logit, gamma), _of_happened(-logit, gamma)
    if alpha is not None:
        positive, negative = alpha * positive, (1.0 - alpha) * negative
    return target * positive + (1.0 - target) * negative


def _of_happened(logit: Tensor, gamma: float) -> Tensor:
    """(1 - p) ** gamma * -log p with p = sigmoid(logit), finite with finite gradients at any logit."""
    return torch.exp(-gamma * F.softplus(logit)) * F.softplus(-logit)


def focal_corrected(logit: Tensor, gamma: float) -> Tensor:
    """Logit of the true probability where a focal loss without alpha is lowest at `logit`; strictly rising in it.

    Source: the transformation Psi of Charoenphakdee et al. CVPR 2021 (On focal loss for class-posterior probability
    estimation): where v minimise the loss, the true probabilities are in proportion to
    h(v) = v / ((1 - v)^gamma - gamma (1 - v)^(gamma - 1) v log v). Of two classes, with z the logit and
    g(z) = exp(z) log(1 + exp(-z)), that is

        (1 + gamma) z - log(1 + gamma g(z)) + log(1 + gamma g(-z))
    """
    grown, shrunk = torch.log1p(gamma * _g(logit)), torch.log1p(gamma * _g(-logit))
    return (1.0 + gamma) * logit - grown + shrunk


def _g(z: Tensor) -> Tensor:
    """exp(z) log(1 + exp(-z)), from 0 to 1, without overflow."""
    u = torch.exp(-z.abs())
    some = u > 0
    safe = torch.where(some, u, 1.0)
    above = torch.where(some, torch.log1p(safe) / safe, 1.0)
    return torch.where(z >= 0, above, u * (z.abs() + torch.log1p(u)))
