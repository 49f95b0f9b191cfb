"""A moving average of the weights, to be used in their place."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mtl_ray.schema import Settings

AVERAGED = "averaged"
"""Number of updates so far, in the state."""


class AveragingConfig(Settings):
    """An exponential moving average of the weights of the last 1 / (1 - decay) steps or so (Polyak and Juditsky, SIAM
    J. Control and Optimization 1992, with exponential weights as in Adam, Kingma and Ba, ICLR 2015, section 7.2)."""

    decay: float = Field(default=0.999, gt=0.0, lt=1.0)
    """What a step leaves of the average. In the beginning less: (1 + n) / (10 + n) after n updates, as in TensorFlow's
    ExponentialMovingAverage, so that the first weights do not stay in it."""
    every: int = Field(default=1, ge=1)
    """Steps between two updates, each of which reads and writes every weight, the rows of embedding tables that no
    batch showed included. The average reaches back as far, with decay ** every an update."""

    def build(self, model: nn.Module) -> WeightAverage:
        """The average, which begins with a copy of `model`."""
        return WeightAverage(model, self.decay**self.every, self.every)


class WeightAverage:
    """The average of a model's weights and buffers (a batch norm's statistics among them).

    Every rank holds the same, without any collective, as long as the ranks' weights are the same.
    """

    def __init__(self, model: nn.Module, decay: float, every: int) -> None:
        """`decay` of one update."""

        def move(averages: Any, weights: Any, updates: Tensor | int) -> None:
            n = int(updates)
            kept = min(decay, (1 + n) / (10 + n))
            for average, weight in zip(averages, weights, strict=True):
                if average.is_floating_point():
                    average.lerp_(weight, 1.0 - kept)
                else:
                    average.copy_(weight)

        self._every = every
        self._averaged = AveragedModel(model, multi_avg_fn=move, use_buffers=True)
        self._averaged.module.requires_grad_(False)

    @property
    def model(self) -> nn.Module:
        """The model with the averaged weights, which do not learn."""
        return self._averaged.module

    @torch.no_grad()
    def after_step(self, step: int, model: nn.Module) -> None:
        """Take in the weights of `model` after step number `step` (1-based), where it is one of every `every`."""
        if step % self._every == 0:
            self._averaged.update_parameters(model)

    def state_dict(self) -> dict[str, Any]:
        """What the averaged weights themselves do not tell."""
        return {AVERAGED: int(self._averaged.n_averaged)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What `state_dict` gave; the weights are to be loaded into `model`."""
        self._averaged.n_averaged.fill_(state[AVERAGED])
