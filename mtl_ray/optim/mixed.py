"""Several optimizers as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import Optimizer


class MixedOptimizer(Optimizer):
    """Steps each of its optimizers in turn. `param_groups` are the groups of all of them, the very dictionaries, so
    that a schedule reaches them; the state is theirs."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = tuple(parts)
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Of each part."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """`closure` is not called."""
        assert closure is None
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Of each part, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        # Loading puts new dictionaries into the parts.
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def parts_of(optimizer: Optimizer) -> tuple[Optimizer, ...]:
    """The optimizers that `optimizer` steps: itself, where it is one."""
    return optimizer.parts if isinstance(optimizer, MixedOptimizer) else (optimizer,)
