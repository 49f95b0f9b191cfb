"""How the weights of hidden layers start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Init = Literal["he_uniform", "he_normal", "xavier_uniform", "xavier_normal", "orthogonal"]

DEFAULT_INIT: Init = "he_uniform"

_FILL: dict[Init, Callable[[Tensor], Tensor]] = {
    "he_uniform": lambda weight_OI: nn.init.kaiming_uniform_(weight_OI, nonlinearity="relu"),
    "he_normal": lambda weight_OI: nn.init.kaiming_normal_(weight_OI, nonlinearity="relu"),
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "orthogonal": lambda weight_OI: nn.init.orthogonal_(weight_OI, gain=nn.init.calculate_gain("relu")),
}


@runtime_checkable
class HiddenLayers(Protocol):
    """A module with hidden layers of its own."""

    def initialise(self, init: Init) -> None:
        """Draw the weights of the hidden layers; what else the module has keeps its start."""


def initialise_linear(weight_OI: Tensor, init: Init = DEFAULT_INIT) -> None:
    """Fill a weight `[out, in]` in place.

    he: variance 2 / in, uniform or normal (He et al., Delving Deep into Rectifiers, ICCV 2015, equation 10). xavier:
    variance 2 / (in + out) (Glorot and Bengio, AISTATS 2010, equation 16). orthogonal: orthonormal rows or columns
    times sqrt(2) (Saxe et al., ICLR 2014).
    """
    with torch.no_grad():
        _FILL[init](weight_OI)


def initialise_hidden(model: nn.Module, init: Init) -> None:
    """Draw the hidden layers of every part of `model` anew, in the order of its modules."""
    for module in model.modules():
        if isinstance(module, HiddenLayers):
            module.initialise(init)
