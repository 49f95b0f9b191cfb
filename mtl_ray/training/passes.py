"""The parts of one batch through the model, as often as a step needs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from mtl_ray import distributed
from mtl_ray.batch import Batch
from mtl_ray.models.auxiliary import AuxiliaryLoss
from mtl_ray.tasks.losses import TaskLosses
from mtl_ray.training.objective import Losses, combined, packed, without_losses

RandomState = tuple[Tensor, Tensor | None]


class LossesOf(Protocol):
    """This rank's part of each loss, from rows of one part of the batch."""

    def __call__(self, part: Batch, last: bool, graph: bool) -> tuple[TaskLosses, tuple[AuxiliaryLoss, ...]]: ...


class Passes(ABC):
    """Losses of the parts, normalised by what all ranks and all parts have observed.

    Attributes:
        whole: the global batch's task losses `[T]`, no gradient.
        observed: whether any rank has observed the task, bool `[T]`.
        counted: what each part adds to sums of losses over batches and ranks, and what these are divided by.
    """

    whole: Tensor
    observed: Tensor
    counted: list[tuple[Tensor, Tensor]]

    def __init__(self, losses_of: LossesOf, parts: Sequence[Batch]) -> None:
        self._losses_of = losses_of
        self._parts = parts

    def __len__(self) -> int:
        return len(self._parts)

    @abstractmethod
    def again(self) -> Iterator[Losses]:
        """Each part's losses, differentiable."""

    def whole_now(self) -> Tensor:
        """`whole` by the parameters as they are now. Collective."""
        found = [self._losses_of(part, last=False, graph=False) for part in self._parts]
        total = distributed.start_sum(torch.stack([packed(*own) for own in found]).sum(dim=0))()
        return combined(*found[0], total, distributed.world_size()).whole


class PassesWithLosses(Passes):
    """The losses are known before any is differentiated.

    A batch in one part runs once, and its graph serves all. One in several runs first without a graph, because the
    weights of the losses depend on the whole batch, and then part by part, with the same random numbers (dropout) each
    time; what is left of a part's graph goes when the next one runs.
    """

    def __init__(self, losses_of: LossesOf, parts: Sequence[Batch]) -> None:
        """Collective."""
        super().__init__(losses_of, parts)
        self._states: list[RandomState] = []
        if len(parts) == 1:
            own = losses_of(parts[0], last=True, graph=True)
            self._total = distributed.start_sum(packed(*own))()
            self._only = combined(*own, self._total, distributed.world_size())
            losses = [self._only]
        else:
            found = []
            for part in parts:
                self._states.append(random_state())
                found.append(losses_of(part, last=False, graph=False))
            self._total = distributed.start_sum(torch.stack([packed(*own) for own in found]).sum(dim=0))()
            losses = [combined(*own, self._total, distributed.world_size()) for own in found]
        self.whole, self.observed = losses[0].whole, losses[0].observed
        self.counted = [(part.sums, part.weights) for part in losses]

    def again(self) -> Iterator[Losses]:
        if len(self._parts) == 1:
            yield self._only
            return
        for at, part in enumerate(self._parts):
            restore_random_state(self._states[at])
            own = self._losses_of(part, last=at == len(self._parts) - 1, graph=True)
            yield combined(*own, self._total, distributed.world_size())


class PassesWithoutLosses(Passes):
    """For steps that read no value of the global batch's losses, with a model without auxiliary losses.

    What the losses are divided by depends on the batch alone, and travels while the model runs: no rank waits for
    another's forward pass, and every part runs once. `whole` is NaN; `counted` is there after `again`, which is to be
    called once.
    """

    def __init__(self, losses_of: LossesOf, parts: Sequence[Batch], weights_of: Callable[[Batch], Tensor]) -> None:
        """Collective.

        Args:
            weights_of: this rank's `TaskLosses.weights` `[T]` of a part, from the batch alone.
        """
        super().__init__(losses_of, parts)
        arrived = distributed.start_sum(torch.stack([weights_of(part) for part in parts]).sum(dim=0))
        self._first = losses_of(parts[0], last=len(parts) == 1, graph=True)
        weights_T = arrived().to(self._first[0].sums.dtype)
        self._total = without_losses(weights_T)
        self.whole, self.observed = torch.full_like(weights_T, torch.nan), weights_T > 0
        self.counted = []

    def again(self) -> Iterator[Losses]:
        for at, part in enumerate(self._parts):
            own = self._losses_of(part, last=at == len(self._parts) - 1, graph=True) if at else self._first
            losses = combined(*own, self._total, distributed.world_size())
            self.counted.append((losses.sums, losses.weights))
            yield losses


def random_state() -> RandomState:
    """Where the random numbers of this process and its GPU stand."""
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def restore_random_state(state: RandomState) -> None:
    """Draw again what was drawn after `random_state`."""
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
