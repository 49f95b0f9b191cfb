"""Row-wise Adagrad: Duchi et al., Adaptive Subgradient Methods, JMLR 2011, with one accumulator a row as in Mudigere et
al., Software-Hardware Co-design for Fast and Scalable Training of Deep Learning Recommendation Models, ISCA 2022."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from mtl_ray.optim.embeddings.settings import EmbeddingOptimizerSettings


class RowwiseAdagradConfig(EmbeddingOptimizerSettings):
    """`embeddings: {name: rowwise_adagrad}`."""

    name: Literal["rowwise_adagrad"] = "rowwise_adagrad"
    eps: float = Field(default=1e-8, gt=0.0, allow_inf_nan=False)
    initial: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """What the accumulators start with."""
    decays: ClassVar[bool] = True
    usual_rate: ClassVar[float | None] = 0.01

    def numbers_held(self, rows: int, dim: int) -> int:  # noqa: ARG002
        return rows

    def build(self, group: dict[str, Any], betas: tuple[float, float]) -> RowwiseAdagrad:  # noqa: ARG002
        return RowwiseAdagrad(group, self.eps, self.initial)


class RowwiseAdagrad(Optimizer):
    """For each row r with the gradient g of D numbers: s_r += mean(g^2), then r -= lr * g / (sqrt(s_r) + eps).

    The state is one number a row. `weight_decay` is decoupled: rows with a gradient shrink by lr * weight_decay before.
    Gradients are sparse and coalesced, or dense (then every row has one).
    """

    def __init__(self, group: dict[str, Any], eps: float, initial: float) -> None:
        super().__init__([group], {"eps": eps})
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["sum"] = parameter.new_full((len(parameter),), initial, requires_grad=False)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """`closure` is not called."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        if gradient.is_sparse:
            rows_R, gradient_RD = gradient.indices()[0], gradient.values()
        else:
            rows_R, gradient_RD = torch.arange(len(parameter), device=parameter.device), gradient
        sum_N = self.state[parameter]["sum"]
        sum_R = sum_N.index_select(0, rows_R)
        sum_R += torch.linalg.vector_norm(gradient_RD, dim=1).square_().div_(gradient_RD.shape[1])
        rate_R = group["lr"] / (sum_R.sqrt() + group["eps"])
        new_RD = parameter.index_select(0, rows_R)
        if group["weight_decay"]:
            new_RD.mul_(1.0 - group["lr"] * group["weight_decay"])
        new_RD.addcmul_(gradient_RD, rate_R[:, None], value=-1.0)
        # Every row stands once: copying is a third of adding.
        sum_N.index_copy_(0, rows_R, sum_R)
        parameter.index_copy_(0, rows_R, new_RD)
