"""The learning rate over a run."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mtl_ray.schema import Settings


class ScheduleConfig(Settings):
    """Warm-up from nearly 0 to the learning rate, then decay to `final_fraction` of it."""

    decay: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: int | None = Field(default=None, ge=0)
    warmup_fraction: float | None = Field(default=None, ge=0.0, le=1.0)
    """Of all steps, rounded up; give this or `warmup_steps`, or neither for no warm-up."""
    final_fraction: float = Field(default=0.0, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        if self.warmup_steps is not None and self.warmup_fraction is not None:
            raise ValueError(
                f"give warmup_steps or warmup_fraction, not both; found warmup_steps={self.warmup_steps} and "
                f"warmup_fraction={self.warmup_fraction}"
            )
        return self

    def warmup(self, total_steps: int) -> int:
        """Number of warm-up steps, at most `total_steps`."""
        if self.warmup_fraction is not None:
            return math.ceil(self.warmup_fraction * total_steps)
        return min(self.warmup_steps or 0, total_steps)

    def factor(self, step: int, total_steps: int) -> float:
        """What the learning rate is multiplied by in the step with index `step` (0 is the first).

        The last warm-up step has factor 1. After step `total_steps` the factor stays at its final value.
        """
        warmup = self.warmup(total_steps)
        if step < warmup:
            return (step + 1) / warmup
        if self.decay == "constant":
            return 1.0
        progress = min((step - warmup) / max(total_steps - warmup, 1), 1.0)
        falling = 1.0 - progress if self.decay == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.final_fraction + (1.0 - self.final_fraction) * falling


def build_schedule(config: ScheduleConfig, optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """The schedule, to be stepped once after each optimizer step; `total_steps` are those of the whole run."""
    return LambdaLR(optimizer, lambda step: config.factor(step, total_steps))
