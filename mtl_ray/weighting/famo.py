"""Fast adaptive multitask optimization: Liu et al., FAMO: Fast Adaptive Multitask Optimization, NeurIPS 2023."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mtl_ray.tasks.task import TaskSettings
from mtl_ray.weighting.positive import LEAST_LOSS, check_positive
from mtl_ray.weighting.settings import WeightingSettings
from mtl_ray.weighting.weighting import StepLosses, Weighting, WeightingContext


class FAMOWeightingConfig(WeightingSettings):
    """`weighting: {name: famo}`."""

    name: Literal["famo"] = "famo"
    learning_rate: float = Field(default=0.025, gt=0.0, allow_inf_nan=False)
    """Of the logits."""
    decay: float = Field(default=1e-3, ge=0.0, allow_inf_nan=False)
    """Weight decay of the logits, the paper's gamma."""
    compare_on: Literal["next_batch", "same_batch"] = "next_batch"
    """Which losses say how much a step has gained: those of the next batch, which cost nothing, or those of the same
    batch after the step, as in the paper, for which every step runs the model forward a second time."""

    def build(self, context: WeightingContext) -> FAMOWeighting:
        return FAMOWeighting(context, self)

    def check_tasks(self, tasks: Mapping[str, TaskSettings]) -> None:
        check_positive("famo", tasks)


class FAMOWeighting(Weighting):
    """c * sum over t of z_t log L_t with z = softmax(xi), c = 1 / sum over t of z_t / L_t a constant: equation 9 of the
    paper. Its gradient is that of a weighted sum with the weights c z_t / L_t, which sum to 1. After a step

        delta_t = log L_t(before) - log L_t(after),   xi by a step of Adam against J_z(xi)^T delta + gamma xi

    (algorithm 1; Adam as in the authors' experiments). The sums are over the tasks that some rank has observed; delta
    is 0 where a task was not observed before and after. The config's w_t multiply the weights.

    Deviation: by default "after" are the losses of the next batch, before its step (`compare_on`); their noise averages
    out over steps. Losses count as at least 1e-12.
    """

    logits: Tensor
    """xi, float64 `[T]`; zero at the start."""
    moments: Tensor
    """Adam's running means of the gradient and of its square, float64 `[2, T]`."""
    step: Tensor
    """Adam's steps so far, int64."""
    before: Tensor
    """log L_t before the last step, float64 `[T]`; NaN where not observed."""

    BETAS = (0.9, 0.999)
    EPS = 1e-8

    def __init__(self, context: WeightingContext, config: FAMOWeightingConfig) -> None:
        super().__init__(context)
        self._rate, self._decay = config.learning_rate, config.decay
        self.wants_losses_after = config.compare_on == "same_batch"
        number = len(self.tasks)
        self.register_buffer("logits", torch.zeros(number, dtype=torch.float64))
        self.register_buffer("moments", torch.zeros(2, number, dtype=torch.float64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("before", torch.full((number,), torch.nan, dtype=torch.float64))

    def begin_step(self, losses: StepLosses) -> None:
        now_T = torch.where(losses.observed, losses.values.clamp(min=LEAST_LOSS).log(), torch.nan)
        if not self.wants_losses_after and self.before.isfinite().any():
            self._learn(self.before - now_T)
        self.before.copy_(now_T)

    def weights(self, losses: StepLosses) -> Tensor:
        share_T = torch.where(losses.observed, self.logits.softmax(dim=0), 0.0)
        each_T = share_T / torch.where(losses.observed, losses.values, 1.0).clamp(min=LEAST_LOSS)
        return self.task_weights * each_T / each_T.sum().clamp(min=torch.finfo(torch.float64).tiny)

    def losses_after(self, losses: StepLosses) -> None:
        now_T = torch.where(losses.observed, losses.values.clamp(min=LEAST_LOSS).log(), torch.nan)
        self._learn(self.before - now_T)

    def _learn(self, gained_T: Tensor) -> None:
        """One step of Adam; `gained_T` NaN where it is not known."""
        gained_T = gained_T.nan_to_num(nan=0.0)
        share_T = self.logits.softmax(dim=0)
        gradient_T = share_T * (gained_T - torch.dot(share_T, gained_T)) + self._decay * self.logits
        self.step += 1
        for moment_T, beta, value_T in zip(self.moments, self.BETAS, (gradient_T, gradient_T.square()), strict=True):
            moment_T.mul_(beta).add_(value_T, alpha=1.0 - beta)
        mean_T, square_T = (
            moment_T / (1.0 - beta ** int(self.step)) for moment_T, beta in zip(self.moments, self.BETAS, strict=True)
        )
        self.logits -= self._rate * mean_T / (square_T.sqrt() + self.EPS)
