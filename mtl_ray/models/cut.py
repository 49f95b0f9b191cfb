"""Where what the tasks share ends, so that each task's gradient can be looked at there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor


class Cut:
    """Stands in a forward pass: every way from what tasks share below it to the tasks' losses leads through the tensors
    that are given to it.

    As a rule they pass through as they are. While it is taken, what is above reads copies that are leaves of the graph,
    so that a backward pass from a loss ends there; `below` and `above` then hold both sides, in the order in which they
    were passed, a tensor that was passed several times once.
    """

    def __init__(self) -> None:
        self.below: list[Tensor] = []
        self.above: list[Tensor] = []
        self._taken = False

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The tensors, `[B, ...]` each, or leaves in their place."""
        return tuple(self._leaf(tensor) for tensor in tensors) if self._taken else tensors

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take it in the forward pass inside, and forget what was held before."""
        self.below, self.above = [], []
        self._taken = True
        try:
            yield
        finally:
            self._taken = False

    def release(self) -> None:
        """Forget the tensors, and with them the graph that they hold."""
        self.below, self.above = [], []

    def _leaf(self, tensor: Tensor) -> Tensor:
        for known, leaf in zip(self.below, self.above, strict=True):
            if known is tensor:
                return leaf
        leaf = tensor.detach().requires_grad_()
        self.below.append(tensor)
        self.above.append(leaf)
        return leaf
