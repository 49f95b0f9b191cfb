"""The optimizer and its learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from mtl_ray.schema import Settings


class OptimizerConfig(Settings):
    """AdamW (Loshchilov and Hutter, ICLR 2019)."""

    name: Literal["adamw"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0.0, allow_inf_nan=False)
    embedding_learning_rate: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """Of the embedding tables; `learning_rate` where not given."""
    weight_decay: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """Of weight matrices; biases and norms never decay."""
    embedding_weight_decay: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """Of the embedding tables. It shrinks every row in every step, those that no batch shows included."""
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_betas(self) -> Self:
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas must be at least 0 and below 1, found {list(self.betas)}")
        return self


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


class TrainableModel(Protocol):
    """What the optimizer needs to know of a model."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def embedding_parameters(self) -> list[nn.Parameter]: ...


def build_optimizer(
    config: OptimizerConfig,
    model: TrainableModel,
    weighting: Sequence[nn.Parameter] = (),
    weighting_learning_rate: float | None = None,
) -> torch.optim.AdamW:
    """AdamW over all parameters of `model` that are not frozen, in the groups "matrices" (two or more dimensions,
    decayed), "vectors" (biases and norms) and "embeddings", and over those of a loss `weighting` in a group of that
    name, not decayed; empty groups are left out.

    `weighting_learning_rate` None: `config.learning_rate`.
    """
    embeddings = model.embedding_parameters()
    is_embedding = {id(parameter) for parameter in embeddings}
    dense = [p for p in model.parameters() if id(p) not in is_embedding]
    rate = config.learning_rate
    table_rate = config.embedding_learning_rate or rate

    def group(name: str, parameters: Sequence[nn.Parameter], lr: float, weight_decay: float = 0.0) -> dict[str, Any]:
        learning = [p for p in parameters if p.requires_grad]
        return {"name": name, "params": learning, "lr": lr, "weight_decay": weight_decay}

    groups = [
        group("matrices", [p for p in dense if p.ndim >= 2], rate, config.weight_decay),
        group("vectors", [p for p in dense if p.ndim < 2], rate),
        group("embeddings", embeddings, table_rate, config.embedding_weight_decay),
        group("weighting", weighting, weighting_learning_rate or rate),
    ]
    groups = [group for group in groups if group["params"]]
    # Fused: one pass over the memory of a table instead of one an operation.
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in model.parameters())
    return torch.optim.AdamW(groups, betas=config.betas, eps=config.eps, fused=fused)


def build_schedule(config: ScheduleConfig, optimizer: torch.optim.Optimizer, total_steps: int) -> LambdaLR:
    """The schedule, to be stepped once after each optimizer step; `total_steps` are those of the whole run."""
    return LambdaLR(optimizer, lambda step: config.factor(step, total_steps))
